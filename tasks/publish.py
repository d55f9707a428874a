"""The place of a deliverable: is it free, is what stands there ours, and how a finished file gets there whole.

The digest goes into the database first, then the file appears under its name in one step: a crash between the two
leaves either nothing or a file that the record recognises.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import sql
from edits.errors import BusyError, OutputError, StateError, StoreError, is_transient
from edits.job import TERMINAL, EditJob, JobState, Marker
from edits.keys import sha256_of
from edits.media.records import Verification
from edits.storage import Store
from edits.trust import local_path, readable
from tasks.run import Run
from tasks.version import code_version

WAIT_SECONDS = 1.0
"""Pause between two looks at a job that another live flow works on."""


def take_or_wait(run: Run, job: EditJob) -> bool:
    """Take the job's lease, waiting while another live flow has it. True: its deliverable stands already.

    Raises:
        StateError: the other flow ended the job without delivering it.
        BusyError: this run was cancelled while waiting.
    """
    waited = False
    while not sql.take_job(run.db, job.job_id, run.owner):
        waited = True
        if run.cancelled.wait(WAIT_SECONDS):
            raise BusyError(f"job {job.job_id}: cancelled while another flow worked on it")
    record = sql.job(run.db, job.job_id)
    if stands(run, job) and job.job_id not in run.renew:
        if record.state is not JobState.DELIVERED:
            _catch_up(run, job, record.state)
        return True
    if waited and record.state in TERMINAL and not is_transient(record.failure_category):
        raise StateError(f"job {job.job_id}: another flow ended it as {record.state}: {record.failure_message}")
    if record.state is not JobState.PLANNED:
        sql.change_state(run.db, job.job_id, JobState.PLANNED, f"taken up again from {record.state}")
    return False


def _catch_up(run: Run, job: EditJob, state: JobState) -> None:
    """The file was published and the flow died before it said so: walk the states that are left."""
    path = [JobState.PLANNED, JobState.SPLITTING, JobState.QUEUED, JobState.STITCHING, JobState.CHECKING]
    rest = path[path.index(state) + 1 :] if state in path else path
    for step in (*rest, JobState.DELIVERED):
        sql.change_state(run.db, job.job_id, step, "the published file has the recorded digest")


def stands(run: Run, job: EditJob) -> bool:
    """Whether the file at the job's output is the one that the database recorded for this job."""
    recorded = sql.output_of(run.db, job.job_id)
    if recorded is None or recorded.uri != job.output or _size(run, job.output) != recorded.size:
        return False
    return not job.output.startswith("file:") or sha256_of(local_path(job.output)) == recorded.sha256


def check_place(run: Run, job: EditJob) -> None:
    """Before any work: the output's folder can be written and no foreign file stands there.

    Raises:
        OutputError: it cannot, or one does.
    """
    ours = job.job_id in run.renew and stands(run, job)
    if _size(run, job.output) is not None and not run.overwrite and not ours:
        raise OutputError(_taken(run, job.output))
    if job.output.startswith("file:"):
        _check_folder(local_path(job.output).parent)


def publish(run: Run, job: EditJob, finished: Path, verification: Verification, markers: Mapping[str, Marker]) -> None:
    """Record the digest of `finished` and its chunks, then put it at the output: whole or not at all.

    Raises:
        OutputError: a file that is not this job's stands there, or the folder cannot be written.
        StoreError: the disk or bucket is full or does not answer.
    """
    facts = (verification.sha256, verification.size, verification.streams, code_version())
    sql.record_output_digest(run.db, job.job_id, job.output, *facts)
    sql.record_lineage(run.db, job.job_id, {key: marker.sha256 for key, marker in markers.items()})
    if job.output.startswith("file:"):
        _publish_file(run, job, finished, local_path(job.output))
        return
    if _size(run, job.output) is not None and not _replaces(run, job):
        raise OutputError(_taken(run, job.output))
    folder, name = job.output.rsplit("/", 1)
    Store(folder, endpoint_url=run.settings.endpoint_url).put_file(name, finished)


def _replaces(run: Run, job: EditJob) -> bool:
    """Whether what stands at the output may go: because the call says so, or because it is the version to renew."""
    return run.overwrite or job.job_id in run.renew


def _publish_file(run: Run, job: EditJob, finished: Path, target: Path) -> None:
    part = target.with_name(f".{job.job_id}.part")
    try:
        part.unlink(missing_ok=True)
        _link_or_copy(finished, part)
        _appear(part, target, overwrite=_replaces(run, job))
    except FileExistsError as error:
        raise OutputError(_taken(run, job.output)) from error
    except OSError as error:
        kind = StoreError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(f"{target}: the deliverable could not be written: {error.strerror}. Free space or choose another "
                   "output; the edited chunks are kept.") from error  # fmt: skip
    finally:
        part.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _appear(part: Path, target: Path, *, overwrite: bool) -> None:
    """One step from absent to whole; without `overwrite` it fails when something stands there, also in a race."""
    if overwrite:
        part.replace(target)
        return
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        if target.exists():  # A file system without hard links: the check and the step are two.
            raise FileExistsError(errno.EEXIST, "exists", str(target)) from error
        part.replace(target)


def _taken(run: Run, output: str) -> str:
    known = sql.artifact_at(run.db, output)
    whose = f"made by job {known.job_id}" if known is not None else "not made by samaflow"
    return (
        f"{readable(output)}: a file is there already ({whose}). Give another output, move it away, or use --overwrite."
    )


def _check_folder(folder: Path) -> None:
    probe = folder / f".samaflow-{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror}. Choose another output folder or its rights."
        ) from error


def is_there(run: Run, uri: str) -> bool:
    """Whether any file stands at an output."""
    return _size(run, uri) is not None


def _size(run: Run, uri: str) -> int | None:
    if uri.startswith("file:"):
        path = local_path(uri)
        return path.stat().st_size if path.exists() else None
    folder, name = uri.rsplit("/", 1)
    return Store(folder, endpoint_url=run.settings.endpoint_url).size(name)
