"""One of several variants, put where it is wanted: the delivered file itself, as it was recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import sql
from edits.errors import CellError, OutputError, PermanentError
from edits.job import EditJob, JobState
from edits.keys import sha256_of
from edits.output import open_version, own_places, place_output, read_target, refuse_own
from edits.settings import Settings
from edits.storage import Store
from edits.trust import Trust, local_path, readable
from tasks.report import file_name


def pick(settings: Settings, job_id: str, text: str, trust: Trust, *, overwrite: bool) -> Path:
    """Copy the deliverable of a delivered job to the place that `text` names as a row's `output` does: a file, the next
    free version of a name, or a folder. Its lineage is found by its content, wherever it lies.

    Raises:
        PermanentError: no such job, or it is not delivered.
        TrustError: the place is outside what is allowed.
        OutputError: a file is there already, the suffix is another one, no deliverable may lie there, or the
            deliverable is not what was recorded.
    """
    db = sql.open_database(settings.database)
    record = sql.job(db, job_id)
    made = sql.output_of(db, record.job.job_id)
    if record.state is not JobState.DELIVERED or made is None:
        raise PermanentError(f"job {record.job.job_id} is {record.state}: only a delivered one can be picked")
    target = _place(settings, text, record.job, made.uri, trust, free=lambda uri: _is_free(db, uri, record.job.job_id))
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


def _place(
    settings: Settings, text: str, job: EditJob, made: str, trust: Trust, *, free: Callable[[str], bool]
) -> Path:
    """The file that `text`, relative to the current folder, means for the deliverable at the URI `made`."""
    delivered = Path(file_name(made))
    try:
        target = read_target(text, Path.cwd(), trust)
        refuse_own(target.uri, own_places(settings))
        uri = open_version(place_output(target, delivered.stem, (delivered.suffix.lower(),), trust), free)
    except CellError as error:
        raise OutputError(f"{text}: {error}") from error
    if not uri.startswith("file:"):
        raise OutputError(f"{text}: a deliverable is picked to a folder of this machine. Name one, or a file in it.")
    if uri == job.source:
        raise OutputError(f"{text}: the job's own source; a source is never written. Name another file.")
    return local_path(uri)


def _is_free(db: sql.Database, uri: str, job_id: str) -> bool:
    """Whether a version may be taken: nothing stands there, and no other job is still to deliver it."""
    return not (uri.startswith("file:") and local_path(uri).exists()) and not sql.is_promised(db, uri, job_id)


def _copy(settings: Settings, uri: str, part: Path) -> None:
    if uri.startswith("file:"):
        shutil.copyfile(local_path(uri), part)
        return
    folder, name = uri.rsplit("/", 1)
    Store(folder, endpoint_url=settings.endpoint_url).fetch(name, part)
