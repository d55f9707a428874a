"""Makes a recorded deliverable again, in a folder of its own, and compares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from prefect import flow

import sql
from edits.lineage import Lineage
from edits.manifest import one_row_manifest
from edits.output import REPRODUCED
from edits.settings import Settings
from edits.trust import file_uri
from flows.edit_manifest import RUNNER, edit
from tasks.catalogue import build_catalogue
from tasks.conclude import Summary
from tasks.reproduce import Reproduction, compare, row_again
from tasks.run import open_run


def reproduce(settings: Settings, lineage: Lineage, allow: list[str]) -> Reproduction:
    """The comparison; the file itself stays in the state folder, under `reproduced`.

    Raises:
        PermanentError: what it was made with is not here.
        SomeJobsFailedError: it cannot be made again now (the source is gone, say); the message says why.
    """
    catalogue = build_catalogue(settings)
    folder = settings.state_folder / REPRODUCED / lineage.job.job_id
    shutil.rmtree(folder, ignore_errors=True)  # of the last time
    row = row_again(lineage, folder, catalogue)
    apart = {"store": file_uri(folder / "store"), "database": f"sqlite:///{folder / 'samaflow.db'}"}
    then = lineage.origin.settings if lineage.origin is not None else {}
    if "encoder_threads" in then:
        apart["encoder_threads"] = then["encoder_threads"]
    (result,) = make_again(row, apart, [*allow, str(folder)]).rows
    db = sql.open_database(str(apart["database"]))
    made = sql.lineage_of(db, result.job_id)
    db.close()
    return compare(lineage, made, catalogue)


@flow(name="reproduce-job", task_runner=RUNNER)
def make_again(row: dict[str, str], apart: dict[str, Any], allow: list[str]) -> Summary:
    """The row as a manifest of its own, with its own store and database."""
    with open_run([], allow, **apart) as run:
        return edit(run, one_row_manifest(row), "reproduction", Path.cwd())
