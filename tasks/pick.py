"""One of several variants, put where it is wanted: the delivered file itself, as it was recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import sql
from edits.errors import OutputError, PermanentError
from edits.job import JobState
from edits.keys import sha256_of
from edits.settings import Settings
from edits.storage import Store
from edits.trust import local_path, readable


def pick(settings: Settings, job_id: str, target: Path, *, overwrite: bool) -> Path:
    """Copy the deliverable of a delivered job to `target`; its lineage is found by its content, wherever it lies.

    Raises:
        PermanentError: no such job, or it is not delivered.
        OutputError: a file is there already, the suffix is another one, or the deliverable is not what was recorded.
    """
    db = sql.open_database(settings.database)
    record = sql.job(db, job_id)
    made = sql.output_of(db, record.job.job_id)
    if record.state is not JobState.DELIVERED or made is None:
        raise PermanentError(f"job {record.job.job_id} is {record.state}: only a delivered one can be picked")
    if target.suffix.lower() != Path(made.uri).suffix.lower():
        raise OutputError(f"{target}: the deliverable is a {Path(made.uri).suffix} file: end the name in that")
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: a file is there already. Give another name, move it away, or use --overwrite.")
    part = target.with_name(f".{record.job.job_id}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(settings, made.uri, part)
        if sha256_of(part) != made.sha256:
            raise OutputError(f"{readable(made.uri)}: not the file any more that was delivered; deliver it again")
        part.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _copy(settings: Settings, uri: str, part: Path) -> None:
    if uri.startswith("file:"):
        shutil.copyfile(local_path(uri), part)
        return
    folder, name = uri.rsplit("/", 1)
    Store(folder, endpoint_url=settings.endpoint_url).fetch(name, part)
