"""Attempts of workers, whose GPU-seconds they are, and the daily totals: changed together, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC

import sqlalchemy as sa
from sqlalchemy.orm import Session

from sql.dispatches import load_dispatch
from sql.edit_jobs import batches
from sql.inserts import add_up
from sql.models import Attempt, Chunk, DailyUsage, Dispatch, Job, Share
from sql.patience import patient
from sql.records import AttemptRecord
from sql.session import Database


@patient
def record_attempt(db: Database, attempt: AttemptRecord) -> None:
    """One worker's try at one shard, in the dispatch's present round. Recorded again, the newer facts count.

    Raises:
        PermanentError: no such dispatch.
    """
    with db.write() as session:
        # Its lock makes two who record one attempt take turns.
        dispatch = load_dispatch(session, attempt.dispatch_id)
        row = _row(session, dispatch, attempt)
        if row.attempt_id is not None:
            _take_back(session, dispatch, row)
        facts = {name: value for name, value in asdict(attempt).items() if name not in ("index", "chunks")}
        for name, value in facts.items():
            setattr(row, name, value)
        session.flush()
        shares = _shares(session, row, attempt.chunks)
        session.add_all(shares)
        session.flush()
        _book(session, dispatch, row, shares, 1)


@patient
def recorded_attempts(db: Database, dispatch_id: str) -> frozenset[tuple[int, int]]:
    """What is recorded of this dispatch's workers: index of the shard, number of the try."""
    with db.read() as session:
        query = sa.select(Attempt.shard_index, Attempt.attempt).where(Attempt.dispatch_id == dispatch_id)
        return frozenset((index, attempt) for index, attempt in session.execute(query))


def _row(session: Session, dispatch: Dispatch, attempt: AttemptRecord) -> Attempt:
    key = {"dispatch_id": attempt.dispatch_id, "shard_index": attempt.index, "attempt": attempt.attempt}
    row = session.scalars(sa.select(Attempt).filter_by(**key)).one_or_none()
    if row is None:
        row = Attempt(**key, round=dispatch.rounds)
        session.add(row)
    return row


def _take_back(session: Session, dispatch: Dispatch, row: Attempt) -> None:
    shares = list(session.scalars(sa.select(Share).where(Share.attempt_id == row.attempt_id)))
    _book(session, dispatch, row, shares, -1)
    for share in shares:
        session.delete(share)


def _shares(session: Session, row: Attempt, chunk_keys: tuple[str, ...]) -> list[Share]:
    """In equal parts by chunk; what no job had claimed is nobody's."""
    counts: Counter[str | None] = Counter()
    for batch in batches(chunk_keys):
        query = sa.select(Chunk.claimed_for, sa.func.count()).where(Chunk.chunk_key.in_(batch))
        for job_id, count in session.execute(query.group_by(Chunk.claimed_for)):
            counts[job_id] += count
    whole = counts.total()
    if not whole:
        return [Share(attempt_id=row.attempt_id, job_id=None, chunks=0, gpu_seconds=row.gpu_seconds)]
    return [
        Share(attempt_id=row.attempt_id, job_id=job_id, chunks=count, gpu_seconds=row.gpu_seconds * count / whole)
        for job_id, count in counts.items()
    ]


def _book(session: Session, dispatch: Dispatch, row: Attempt, shares: list[Share], sign: int) -> None:
    """Add the shares to the totals of their day, or take them off, in one order for all who do so at once."""
    job_ids = [share.job_id for share in shares if share.job_id is not None]
    jobs = session.scalars(sa.select(Job).where(Job.job_id.in_(job_ids)))
    projects = {job.job_id: job.project for job in jobs}
    day = row.ended_at.astimezone(UTC).date()
    totals: dict[str, list[Share]] = {}
    for share in shares:
        totals.setdefault(projects.get(share.job_id or "", ""), []).append(share)
    for project, parts in sorted(totals.items()):
        key = {"day": day, "project": project, "editor": dispatch.editor, "currency": row.currency}
        chunks, seconds = sum(share.chunks for share in parts), sum(share.gpu_seconds for share in parts)
        amounts = {"chunks": chunks, "gpu_seconds": seconds, "cost": seconds / 3600 * row.price}
        add_up(session, DailyUsage, key, {name: sign * amount for name, amount in amounts.items()})
