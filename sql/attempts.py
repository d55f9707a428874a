"""Attempts of workers, whose GPU-seconds they are, and the daily totals: changed together, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC
from statistics import median

import sqlalchemy as sa
from sqlalchemy.orm import Session

from sql.dispatches import load_dispatch
from sql.edit_jobs import batches
from sql.inserts import add_up
from sql.models import Attempt, Chunk, DailyUsage, Dispatch, Job, ModelVersion, Share
from sql.patience import patient
from sql.records import AttemptRecord, MeasuredSeconds
from sql.session import Database

MEASURED = 100
"""Chunks and attempts that a median is taken over."""


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
        facts = {name: value for name, value in asdict(attempt).items() if name not in ("index", "attempt", "chunks")}
        for name, value in facts.items():
            setattr(row, name, value)
        session.flush()
        shares = _shares(session, row, attempt.chunks)
        session.add_all(shares)
        session.flush()
        _book(session, dispatch, row, shares, 1)


@patient
def recorded_attempts(db: Database, dispatch_id: str) -> frozenset[tuple[int, int, str]]:
    """What is recorded of this dispatch's workers: index of the shard, number of the try as they were told, name."""
    told = sa.case((Attempt.worker == "", Attempt.attempt), else_=Attempt.round - 1)
    with db.read() as session:
        query = sa.select(Attempt.shard_index, told, Attempt.worker).where(Attempt.dispatch_id == dispatch_id)
        return frozenset((index, attempt, worker) for index, attempt, worker in session.execute(query))


@patient
def measured_seconds(db: Database, editor: str, weights: str) -> MeasuredSeconds:
    """What the newest chunks and attempts of this editor and weights took: medians, None where nothing was measured."""
    chunks = (
        sa.select(Chunk.marker)
        .join(ModelVersion)
        .where(ModelVersion.editor == editor, ModelVersion.weights == weights, Chunk.marker.is_not(None))
        .order_by(Chunk.done_at.desc())
        .limit(MEASURED)
    )
    attempts = (
        sa.select(Attempt.gpu_seconds, sa.func.sum(Share.chunks))
        .join(Share)
        .join(Dispatch, Dispatch.dispatch_id == Attempt.dispatch_id)
        .where(Dispatch.editor == editor, Dispatch.weights == weights, Attempt.category == "done")
        .where(Attempt.gpu_seconds > 0)
        .group_by(Attempt.attempt_id)
        .order_by(Attempt.attempt_id.desc())
        .limit(MEASURED)
    )
    with db.read() as session:
        spent = [sum(marker["seconds"].values()) for marker in session.scalars(chunks) if marker]
        chunk = median(spent) if spent else None
        ends = [(seconds, count) for seconds, count in session.execute(attempts)]
    loads = [max(0.0, seconds - count * chunk) for seconds, count in ends] if chunk is not None else []
    return MeasuredSeconds(load=median(loads) if loads else None, chunk=chunk)


def _row(session: Session, dispatch: Dispatch, attempt: AttemptRecord) -> Attempt:
    """A process is known by its number; a pod by its name, and it gets the next number of its shard."""
    shard = {"dispatch_id": attempt.dispatch_id, "shard_index": attempt.index}
    known = {"worker": attempt.worker} if attempt.worker else {"attempt": attempt.attempt}
    row = session.scalars(sa.select(Attempt).filter_by(**shard, **known)).one_or_none()
    if row is None:
        number = attempt.attempt
        if attempt.worker:
            newest = session.scalar(sa.select(sa.func.max(Attempt.attempt)).filter_by(**shard))
            number = 0 if newest is None else newest + 1
        row = Attempt(**shard, attempt=number, round=attempt.attempt + 1 if attempt.worker else dispatch.rounds)
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
