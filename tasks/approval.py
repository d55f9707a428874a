"""Jobs that await their review: which have to, and the finished deliverable that is kept for them meanwhile.

It lies in the store, verified, until somebody decides (`tasks.decide`): approving publishes these very bytes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import RecordError
from edits.job import STRICT, EditJob, JobState
from edits.media.records import Verification
from tasks import record
from tasks.run import Run


@dataclass(frozen=True)
class Kept:
    """`jobs/<job_id>/kept.json`: the finished deliverable that lies beside it, and what its check found."""

    __pydantic_config__ = STRICT
    name: str
    verification: Verification


def needed(run: Run, job: EditJob) -> bool:
    """Whether the finished file has to wait: the row asks for a review, and nobody approved the job yet."""
    return job.review == "required" and not sql.is_approved(run.db, job.job_id)


def keep(run: Run, job: EditJob, finished: Path, verification: Verification) -> None:
    """Put the deliverable into the store, and its record after it; the job awaits its review from then on."""
    path = storage.kept_deliverable_path(job.job_id, finished.suffix)
    run.store.put_file(path, finished)
    kept = Kept(path.rpartition("/")[2], verification)
    run.store.put_bytes(storage.kept_record_path(job.job_id), wire.dump(kept))
    record.end_job(run, job, JobState.AWAITING_REVIEW, f"finished, awaits its review: samaflow approve {job.job_id}")


def kept_of(run: Run, job_id: str) -> Kept | None:
    """What is kept of the job, if it lies there whole."""
    path = storage.kept_record_path(job_id)
    data = run.store.read_or_none(path)
    with suppress(RecordError):
        kept = None if data is None else wire.load(Kept, data, path)
        if kept and run.store.size(f"jobs/{job_id}/{kept.name}") == kept.verification.size:
            return kept
    return None


def waits(run: Run, job: EditJob) -> bool:
    """Whether this run leaves the job to its reviewer: it is finished and kept, or previewed and only that is asked."""
    if sql.job(run.db, job.job_id).state is not JobState.AWAITING_REVIEW:
        return False
    return bool(run.preview) or (kept_of(run, job.job_id) is not None and needed(run, job))
