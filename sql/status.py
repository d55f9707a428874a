"""What `samaflow status` shows: counts by state, and a line a job."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.job import TERMINAL, JobState
from sql.edit_jobs import batches, event_of, record_of, rows_of
from sql.models import Chunk, Event, Holder, Job, JobChunk
from sql.owners import dead_among
from sql.patience import patient
from sql.records import JobStatus
from sql.session import Database


@patient
def counts(db: Database, manifest_id: str | None = None) -> dict[JobState, int]:
    """Jobs by state, of one manifest or all; every state is there, in the order of a job's life."""
    query = sa.select(Job.state, sa.func.count()).group_by(Job.state)
    if manifest_id is not None:
        query = query.where(Job.manifest_id == manifest_id)
    with db.read() as session:
        found = {row[0]: row[1] for row in session.execute(query)}
    return dict.fromkeys(JobState, 0) | found


@patient
def job_table(
    db: Database,
    manifest_id: str | None = None,
    states: Collection[JobState] | None = None,
    limit: int = 1000,
) -> tuple[JobStatus, ...]:
    """A line a job, in the order of `jobs`."""
    with db.read() as session:
        rows = rows_of(session, manifest_id, states, limit)
        chunks = _chunks(session, rows)
        events = _last_events(session, rows)
        gone = _without_flow(session, rows)
        return tuple(
            JobStatus(
                record_of(session, row), *chunks.get(row.job_id, (0, 0)), event_of(events[row.job_id]),
                flow_gone=row.job_id in gone,
            )
            for row in rows
        )  # fmt: skip


def _without_flow(session: Session, rows: list[Job]) -> set[str]:
    """Jobs that have not ended and whose flow is dead."""
    open_rows = [row for row in rows if row.state not in TERMINAL and row.owner_id is not None]
    holders: list[Holder] = []
    for batch in batches({row.owner_id for row in open_rows if row.owner_id is not None}):
        holders += session.scalars(sa.select(Holder).where(Holder.owner_id.in_(batch)))
    dead = dead_among(session, holders)
    return {row.job_id for row in open_rows if row.owner_id in dead}


def _chunks(session: Session, rows: list[Job]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for batch in batches(row.job_id for row in rows):
        query = sa.select(JobChunk.job_id, sa.func.count(), sa.func.count(Chunk.done_at)).join(Chunk)
        grouped = query.where(JobChunk.job_id.in_(batch)).group_by(JobChunk.job_id)
        found.update({job_id: (total, done) for job_id, total, done in session.execute(grouped)})
    return found


def _last_events(session: Session, rows: list[Job]) -> dict[str, Event]:
    found: dict[str, Event] = {}
    for batch in batches(row.job_id for row in rows):
        last = sa.select(sa.func.max(Event.event_id)).where(Event.job_id.in_(batch)).group_by(Event.job_id)
        found.update({row.job_id: row for row in session.scalars(sa.select(Event).where(Event.event_id.in_(last)))})
    return found
