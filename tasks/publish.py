"""The place of a deliverable: is it free, is what stands there ours, and how a finished file gets there whole.

The digest goes into the database first, then the file appears under its name in one step: a crash between the two
leaves either nothing or a file that the record recognises.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import BusyError, OutputError, RecordError, StateError, StoreError, is_transient
from edits.job import TERMINAL, EditJob, JobState, Marker
from edits.keys import sha256_of
from edits.lineage import Delivery
from edits.provenance import SIDECAR, Sidecar
from edits.storage import Store
from edits.trust import local_path, readable
from tasks.run import Run
from tasks.sign import Finished
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
            sql.walk_to_delivered(run.db, job.job_id, "the published file has the recorded digest")
        return True
    if waited and record.state in TERMINAL and not is_transient(record.failure_category):
        raise StateError(f"job {job.job_id}: another flow ended it as {record.state}: {record.failure_message}")
    if record.state is not JobState.PLANNED:
        sql.change_state(run.db, job.job_id, JobState.PLANNED, f"taken up again from {record.state}")
    return False


def stands(run: Run, job: EditJob) -> bool:
    """Whether the file at the job's output is the one that the database recorded for this job."""
    recorded = sql.output_of(run.database, job.job_id)
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


def foresee_place(run: Run, job: EditJob) -> None:
    """What `check_place` would say of a job that is planned, with nothing written; a deliverable that stands is fine.

    Raises:
        OutputError: the folder cannot be written, or a foreign file stands there.
    """
    if _size(run, job.output) is not None and not run.overwrite and not stands(run, job):
        raise OutputError(_taken(run, job.output))
    if job.output.startswith("file:"):
        _foresee_folder(local_path(job.output).parent)


def publish(run: Run, job: EditJob, finished: Finished, markers: Mapping[str, Marker]) -> None:
    """Record the digest of `finished` and its chunks, then put it at the output: whole or not at all.

    Raises:
        OutputError: a file that is not this job's stands there, or the folder cannot be written.
        StoreError: the disk or bucket is full or does not answer.
    """
    _record(run, job, finished, {key: marker.sha256 for key, marker in markers.items()})
    if job.output.startswith("file:"):
        target = local_path(job.output)
        if finished.sidecar is not None:
            _put_beside(run, job, target.with_name(target.name + SIDECAR), finished.sidecar)
        _publish_file(run, job, finished.path, target)
        return
    if _size(run, job.output) is not None and not _replaces(run, job):
        raise OutputError(_taken(run, job.output))
    folder, name = job.output.rsplit("/", 1)
    store = Store(folder, endpoint_url=run.settings.endpoint_url)
    if finished.sidecar is not None:
        store.put_bytes(name + SIDECAR, finished.sidecar)
    store.put_file(name, finished.path)


def _record(run: Run, job: EditJob, finished: Finished, used: dict[str, str]) -> None:
    """In the database, and in the store for the day on which that is lost."""
    verification = finished.verification
    made = Delivery(
        job_id=job.job_id,
        uri=job.output,
        sha256=verification.sha256,
        size=verification.size,
        streams=verification.streams,
        chunks=used,
        code_version=code_version(),
        encoding=verification.encoding,
        credentials=finished.credentials,
        made_at=datetime.now(UTC),
        checks=verification.checks,
    )
    sql.record_output_digest(
        run.db,
        made.job_id,
        made.uri,
        made.sha256,
        made.size,
        made.streams,
        made.code_version,
        owner=run.owner,
        encoding=made.encoding,
        credentials=made.credentials,
    )
    sql.record_lineage(run.db, job.job_id, used)
    sql.record_qc(run.db, job.job_id, made.sha256, made.checks)
    run.store.put_bytes(storage.delivery_path(job.job_id), wire.dump(made))


def _put_beside(run: Run, job: EditJob, path: Path, content: bytes) -> None:
    """The credentials of a file that cannot carry them. Only a file of that kind is replaced."""
    if path.exists() and not _replaces(run, job):
        try:
            wire.load(Sidecar, path.read_bytes(), str(path))
        except RecordError as error:
            raise OutputError(f"{path}: is there already and not made by samaflow. Move it away.") from error
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: the credentials could not be written: {error.strerror}.") from error


def _replaces(run: Run, job: EditJob) -> bool:
    """Whether what stands at the output may go: because the call says so, or because it is the version to renew."""
    return run.overwrite or job.job_id in run.renew


def part_of(job: EditJob) -> Path:
    """Where a local deliverable lies until it gets its name; a flow that is killed meanwhile leaves it."""
    return local_path(job.output).with_name(f".{job.job_id}.part")


def _publish_file(run: Run, job: EditJob, finished: Path, target: Path) -> None:
    part = part_of(job)
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
    known = sql.artifact_at(run.database, output)
    whose = f"made by job {known.job_id}" if known is not None else "not made by samaflow"
    return (
        f"{readable(output)}: a file is there already ({whose}). Give another output, move it away, or let it be "
        "replaced (--overwrite, in a form Overwrite)."
    )


def _check_folder(folder: Path) -> None:
    _refuse_file(folder)
    probe = folder / f".samaflow-{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)  # two jobs of one flow may try the same folder at once
    except OSError as error:
        raise _not_writable(folder, str(error.strerror)) from error


def _foresee_folder(folder: Path) -> None:
    """What can be said of a folder without making it: the nearest one that is there must be open to us."""
    _refuse_file(folder)
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _not_writable(folder, os.strerror(errno.EACCES))


def _refuse_file(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place}: is a file, not a folder. Choose another output.")


def _not_writable(folder: Path, reason: str) -> OutputError:
    return OutputError(f"{folder}: cannot be written: {reason}. Choose another output folder or its rights.")


def may_take(run: Run, line: int, uri: str, job_id: str) -> bool:
    """Whether a version is free for the job of that id, on that line: no other line of this run writes it, no other job
    is still to, and nothing stands there, or what this very job delivered."""
    if run.outputs.get(uri, line) != line or sql.is_promised(run.database, uri, job_id):
        return False
    if not is_there(run, uri):
        return True
    known = sql.artifact_at(run.database, uri)
    return known is not None and known.job_id == job_id


def is_there(run: Run, uri: str) -> bool:
    """Whether any file stands at an output."""
    return _size(run, uri) is not None


def _size(run: Run, uri: str) -> int | None:
    if uri.startswith("file:"):
        path = local_path(uri)
        return path.stat().st_size if path.exists() else None
    folder, name = uri.rsplit("/", 1)
    return Store(folder, endpoint_url=run.settings.endpoint_url).size(name)
