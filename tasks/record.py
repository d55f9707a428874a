"""What became of a job, written where it is looked for: its history in the database, and the board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sql
from edits.errors import SamaflowError, VerificationError, wrong_cells
from edits.job import TERMINAL, EditJob, JobState
from tasks.run import Run


@dataclass
class Outcome:
    """Filled in as soon as the row is a job; before that a failure belongs to the row alone."""

    job: EditJob | None = None


@contextmanager
def outcome(run: Run, manifest_id: str, line: int) -> Iterator[Outcome]:
    """Around the work on one row: an error ends its job as failed, gives the lease back and goes on up."""
    subject = Outcome()
    try:
        yield subject
    except SamaflowError as error:
        if subject.job is None:
            sql.record_row_failures(run.db, manifest_id, [(line, error.category, str(error))])
            run.board.end(line, JobState.FAILED, str(error), error.category, wrong_cells(error))
        else:
            end_job(run, subject.job, ending_of(run, error), str(error), error.category)
        raise
    except Exception as error:
        # Nobody foresaw this one, and still the row must not stay as if it were in work.
        message = (
            f"unexpected {type(error).__name__}: {error}. Run it again; if it stays, this is a mistake in samaflow"
        )
        if subject.job is None:
            sql.record_row_failures(run.db, manifest_id, [(line, SamaflowError.category, message)])
            run.board.end(line, JobState.FAILED, message, SamaflowError.category)
        else:
            end_job(run, subject.job, JobState.FAILED, message, SamaflowError.category)
        raise


def ending_of(run: Run, error: SamaflowError) -> JobState:
    """The state in which a job ends that met this error."""
    if run.cancelled.is_set():
        return JobState.CANCELLED
    return JobState.FAILED_QC if isinstance(error, VerificationError) else JobState.FAILED


def end_job(run: Run, job: EditJob, state: JobState, reason: str, category: str = "") -> None:
    """Set a job's last state, give its lease back and show it on the board. A job that has ended already stays so."""
    if sql.job(run.db, job.job_id).state not in TERMINAL:
        sql.change_state(run.db, job.job_id, state, reason, category)
    sql.release_job(run.db, job.job_id, run.owner)
    run.events.ended(run.db, job, state, reason)
    run.board.end(job.line, state, reason, category)
