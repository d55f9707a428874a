"""What `reconcile` does on one machine, where there is no cluster: it looks at database, store and folders."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.reconcile import reconcile
from tasks.leftovers import Leftover
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, kill_tree, wait_until


@contextmanager
def at(folder: Folder) -> Iterator[None]:
    server = {PREFECT_API_URL: folder.environ["PREFECT_API_URL"]}
    with chdir(folder.path), temporary_settings(server):
        yield


def kinds(found: list[Leftover]) -> dict[str, bool]:
    return {item.kind: item.mended for item in found}


def test_what_a_killed_run_leaves_is_put_in_order_and_what_a_live_one_has_is_left_alone(
    folder: Folder, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    folder.manifest({"source": clip, "instruction": "paint it", "editor": "sama", "steps": 100})
    flow = folder.start("edit", "manifest.csv", "--allow", str(tmp_path))
    wait_until(lambda: bool(folder.job_in("editing", "sama")), "the edit to begin")
    scratch = folder.path / ".samaflow" / "scratch" / f"{flow.pid}-split"
    scratch.mkdir(parents=True, exist_ok=True)
    with at(folder):
        assert reconcile.fn() == []
    kill_tree(flow)
    with at(folder):
        assert kinds(reconcile.fn(mend=False)) == {"scratch": False, "flow": False}
        found = reconcile.fn()
    assert kinds(found) == {"scratch": True, "flow": False}
    assert not scratch.exists()
    (left,) = (item for item in found if item.kind == "flow")
    assert "was no run of a deployment, so it cannot be started again" in left.detail
    assert "samaflow edit" in left.remedy
    with closing(sqlite3.connect(folder.path / ".samaflow/samaflow.db")) as db, db:
        db.execute("UPDATE dispatch SET state = 'failed'")
    with at(folder):
        assert kinds(reconcile.fn()) == {"flow": False}  # that of the job alone, which nothing holds any more
