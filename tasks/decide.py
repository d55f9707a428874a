"""Deciding on a job that awaits its review: approve, reject, or change it and look again. Nothing is computed twice.

Approving publishes what is kept, or lets a job go on after its preview, with the chunks that it has. Who decided is
recorded as claimed: neither the command line nor Prefect's own server knows its users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sql
from edits import storage
from edits.errors import BusyError, PermanentError, StateError
from edits.job import EditJob, JobState
from sql import Decision
from tasks import publish, review, sign
from tasks.approval import Kept, kept_of
from tasks.deliver import markers_of, published
from tasks.gather import written_plan
from tasks.intake import source_file
from tasks.run import Run


@dataclass(frozen=True)
class Opinion:
    """What a reviewer says."""

    reviewer: str
    reason: str = ""

    def __str__(self) -> str:
        return f"by {self.reviewer}" + (f": {self.reason}" if self.reason else "")


@contextmanager
def waiting_job(run: Run, job_id: str) -> Iterator[EditJob]:
    """The job, of which this run holds the lease inside the block.

    Raises:
        StateError: it does not await a review.
        BusyError: another flow works on it.
    """
    found = sql.job(run.db, job_id)
    if found.state is not JobState.AWAITING_REVIEW:
        raise StateError(f"job {found.job_id} is {found.state}: only a job that awaits its review can be decided on")
    if not sql.take_job(run.db, found.job_id, run.owner):
        raise BusyError(f"job {found.job_id}: another flow works on it right now; try again when it is done")
    try:
        yield found.job
    finally:
        sql.release_job(run.db, found.job_id, run.owner)


def approve(run: Run, job: EditJob, opinion: Opinion) -> bool:
    """Approve: publish what is kept, or let the job go on after its preview. True when it is delivered with that.

    Raises:
        OutputError: the deliverable's place is taken or cannot be written; the job goes on waiting.
    """
    kept = kept_of(run, job.job_id)
    sha256 = kept.verification.sha256 if kept else ""
    if not sql.is_approved(run.db, job.job_id):
        sql.record_approval(run.db, job.job_id, Decision.APPROVED, opinion.reviewer, opinion.reason, sha256)
    if kept is None:
        sql.change_state(run.db, job.job_id, JobState.PLANNED, f"approved {opinion}")
        return False
    said = _publish(run, job, kept)
    sql.change_state(run.db, job.job_id, JobState.DELIVERED, f"approved {opinion}; {said}")
    _let_go(run, job)
    return True


def reject(run: Run, job: EditJob, opinion: Opinion) -> None:
    """Reject: nothing is published; the edited chunks stay."""
    sql.record_approval(run.db, job.job_id, Decision.REJECTED, opinion.reviewer, opinion.reason, _sha256(run, job))
    sql.change_state(run.db, job.job_id, JobState.CANCELLED, f"rejected {opinion}", "rejected")
    _let_go(run, job)


def change(run: Run, job: EditJob, opinion: Opinion, changes: Mapping[str, str]) -> None:
    """Replace the job: another one, with other cells, is what this run makes in its place.

    Raises:
        PermanentError: nothing is changed.
    """
    if not changes:
        raise PermanentError("change: say what is to be changed: the instruction, the seed or the strength")
    what = ", ".join(f"{name} {value!r}" for name, value in changes.items())
    sha256 = _sha256(run, job)
    sql.record_approval(run.db, job.job_id, Decision.REJECTED, opinion.reviewer, opinion.reason, sha256, what)
    run.in_place_of = job.job_id
    sql.change_state(run.db, job.job_id, JobState.CANCELLED, f"changed {opinion} ({what})", "changed")
    _let_go(run, job)


def _sha256(run: Run, job: EditJob) -> str:
    kept = kept_of(run, job.job_id)
    return kept.verification.sha256 if kept else ""


def _publish(run: Run, job: EditJob, kept: Kept) -> str:
    """Sign and publish what is kept; returns what to say of it."""
    plan = written_plan(run, job)
    if plan is None:
        raise StateError(f"job {job.job_id}: its plan is not in the store; run its manifest again")
    with run.scratch(f"approve-{job.job_id}") as folder:
        stitched = folder / f"deliverable{Path(kept.name).suffix}"
        run.store.fetch(f"jobs/{job.job_id}/{kept.name}", stitched)
        finished = sign.finish(run, plan, stitched, source_file(run, job.source), kept.verification)
        publish.publish(run, job, finished, markers_of(run, plan))
        return published(job, finished)


def _let_go(run: Run, job: EditJob) -> None:
    """The kept file is no longer wanted: the record first, then the file."""
    kept = kept_of(run, job.job_id)
    run.store.delete(storage.kept_record_path(job.job_id))
    if kept is not None:
        run.store.delete(f"jobs/{job.job_id}/{kept.name}")
    review.write_page(run, job.job_id)
    review.write_index(run, job.manifest_id)


def settle_overdue(run: Run) -> tuple[EditJob, ...]:
    """Decide on what has waited longer than the settings allow, as they say; returns the jobs that go on with that,
    because their preview was approved."""
    hours = run.settings.review_timeout_hours
    going_on = []
    for found in sql.overdue_reviews(run.db, hours) if hours else ():
        opinion = Opinion("time-out", f"nobody decided within {hours:g} hours")
        # Suppressed: somebody decides on it at this very moment.
        with suppress(StateError, BusyError), waiting_job(run, found.job_id) as job:
            if run.settings.review_timeout_action == "reject":
                reject(run, job, opinion)
            elif not approve(run, job, opinion):
                going_on.append(job)
    return tuple(going_on)
