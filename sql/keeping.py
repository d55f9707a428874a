"""Which chunk files nothing needs any more, by the record alone. Rows stay; only what they say of the store changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.job import TERMINAL
from sql.base import utc_now
from sql.edit_jobs import append_event, batches, load
from sql.models import Artifact, Chunk, Dispatch, Job, JobChunk
from sql.patience import patient
from sql.records import ENDED
from sql.session import Database


@dataclass(frozen=True)
class Policy:
    """What may be pruned: never what a job that has not ended or an unfinished dispatch needs."""

    older_than: timedelta
    """How long ago the chunk was edited, and every job with it has last changed."""
    delivered: bool = False
    """Also chunks that a recorded deliverable was made of. It can still be made again, but only by editing anew."""


@dataclass(frozen=True)
class PrunableChunk:
    """A chunk whose files nothing needs."""

    chunk_key: str
    input_key: str
    output_sha256: str
    size: int
    """Bytes of the edited chunk's file."""
    done_at: datetime


@patient
def prunable_chunks(db: Database, policy: Policy) -> tuple[PrunableChunk, ...]:
    """Done chunks that the policy gives up, the oldest first."""
    with db.read() as session:
        return tuple(_prunable(session.execute(_given_up(session, policy).order_by(Chunk.done_at, Chunk.chunk_key))))


@patient
def forget_chunks(db: Database, chunk_keys: Collection[str], policy: Policy) -> tuple[PrunableChunk, ...]:
    """Say that these chunks are not done any more, before their files go; those that are needed again by now are left
    out. Every job with them gets an event."""
    gone: list[PrunableChunk] = []
    with db.write() as session:
        for batch in batches(chunk_keys):
            asked = _given_up(session, policy).where(Chunk.chunk_key.in_(batch)).order_by(Chunk.chunk_key)
            gone += _prunable(session.execute(asked.with_for_update(of=Chunk)))
        for batch in batches(chunk.chunk_key for chunk in gone):
            undone = {"done_at": None, "output_sha256": "", "marker": None}
            session.execute(sa.update(Chunk).where(Chunk.chunk_key.in_(batch)).values(**undone))
            _tell_jobs(session, batch)
    return tuple(gone)


def _given_up(session: Session, policy: Policy) -> sa.Select[tuple[Any]]:
    before = session.scalars(sa.select(utc_now())).one() - policy.older_than
    mine = JobChunk.chunk_key == Chunk.chunk_key
    live = Job.state.not_in(TERMINAL) | (Job.updated_at >= before)
    needed = sa.exists().where(mine, JobChunk.job_id == Job.job_id, live)
    claimed = sa.exists().where(Dispatch.dispatch_id == Chunk.dispatch_id, Dispatch.state.not_in(ENDED))
    size = (
        sa.select(sa.func.max(Artifact.size))
        .where(Artifact.key == Chunk.chunk_key, Artifact.sha256 == Chunk.output_sha256)
        .scalar_subquery()
    )
    query = sa.select(Chunk.chunk_key, Chunk.input_key, Chunk.output_sha256, size, Chunk.done_at)
    query = query.where(Chunk.done_at < before, ~needed, ~claimed)
    return query if policy.delivered else query.where(~Chunk.delivered)


def _prunable(rows: Iterable[Any]) -> list[PrunableChunk]:
    return [PrunableChunk(key, given, sha256, size or 0, done) for key, given, sha256, size, done in rows]


def _tell_jobs(session: Session, chunk_keys: Collection[str]) -> None:
    query = sa.select(JobChunk.job_id, sa.func.count()).where(JobChunk.chunk_key.in_(chunk_keys))
    for job_id, count in session.execute(query.group_by(JobChunk.job_id).order_by(JobChunk.job_id)).all():
        row = load(session, job_id)
        append_event(session, row, row.state, f"pruned: the files of {count} of its chunks are removed", "pruned")


@patient
def unused_inputs(db: Database, input_keys: Collection[str]) -> tuple[str, ...]:
    """Those inputs that no done chunk and no job which has not ended needs."""
    needed: set[str] = set()
    wanted = sa.exists().where(
        JobChunk.chunk_key == Chunk.chunk_key, JobChunk.job_id == Job.job_id, Job.state.not_in(TERMINAL)
    )
    with db.read() as session:
        for batch in batches(input_keys):
            query = sa.select(Chunk.input_key).where(Chunk.input_key.in_(batch), Chunk.done_at.is_not(None) | wanted)
            needed.update(session.scalars(query))
    return tuple(sorted(set(input_keys) - needed))
