"""A few figures that a monitor asks for every minute: sums over tables, no rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.job import TERMINAL, JobState
from sql.base import utc_now
from sql.models import Attempt, Chunk, Dispatch, Event, Job, JobChunk, QcResult, RowFailure
from sql.session import Database


@dataclass(frozen=True)
class Health:
    """The figures of one moment."""

    chunks_waiting: dict[str, float]
    """Of jobs that have not ended, by editor."""
    gpu_seconds: dict[str, float]
    """By editor."""
    attempts: dict[str, float]
    """By category; 'done' when all went well."""
    failures: dict[str, float]
    """Jobs by category."""
    refusals: dict[str, float]
    """Rows that a run did not take, by category; one that two runs meet counts twice."""
    checks: dict[tuple[str, bool], int]
    """By name and result."""
    oldest_waiting_seconds: float
    """Age of the job that has waited longest; 0 when none waits."""
    last_delivery: float
    """Unix seconds; 0 before the first."""


def health(db: Database) -> Health:
    """The figures now."""
    waiting = (
        sa.select(Job.editor, sa.func.count())
        .join(JobChunk, JobChunk.job_id == Job.job_id)
        .join(Chunk, Chunk.chunk_key == JobChunk.chunk_key)
        .where(Job.state.not_in(TERMINAL), Chunk.done_at.is_(None))
        .group_by(Job.editor)
    )
    gpu = sa.select(Dispatch.editor, sa.func.sum(Attempt.gpu_seconds)).join(Attempt).group_by(Dispatch.editor)
    attempts = sa.select(Attempt.category, sa.func.count()).group_by(Attempt.category)
    failed = Job.state.in_((JobState.FAILED, JobState.FAILED_QC))
    failures = sa.select(Job.failure_category, sa.func.count()).where(failed).group_by(Job.failure_category)
    refusals = sa.select(RowFailure.category, sa.func.count()).group_by(RowFailure.category)
    checks = sa.select(QcResult.name, QcResult.passed, sa.func.count()).group_by(QcResult.name, QcResult.passed)
    with db.read() as session:
        return Health(
            chunks_waiting=_by_word(session, waiting),
            gpu_seconds=_by_word(session, gpu),
            attempts=_by_word(session, attempts),
            failures=_by_word(session, failures),
            refusals=_by_word(session, refusals),
            checks={(row[0], row[1]): row[2] for row in session.execute(checks)},
            oldest_waiting_seconds=_oldest(session),
            last_delivery=_last_delivery(session),
        )


def _by_word(session: Session, query: Any) -> dict[str, float]:
    return {word or "done": float(value or 0) for word, value in session.execute(query)}


def _oldest(session: Session) -> float:
    ended = (*TERMINAL, JobState.AWAITING_REVIEW)
    since = session.scalar(sa.select(sa.func.min(Job.updated_at)).where(Job.state.not_in(ended)))
    now = session.scalars(sa.select(utc_now())).one()
    return (now - since).total_seconds() if since else 0.0


def _last_delivery(session: Session) -> float:
    at = session.scalar(sa.select(sa.func.max(Event.at)).where(Event.after == JobState.DELIVERED))
    return at.timestamp() if at else 0.0
