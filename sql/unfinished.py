"""Dispatches that have not ended, with whether somebody works on them and whether anybody still wants them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.job import TERMINAL
from sql.dispatches import record_of_dispatch
from sql.edit_jobs import batches
from sql.models import Chunk, Dispatch, FlowRun, Holder, Job, JobChunk
from sql.owners import dead_among
from sql.patience import patient
from sql.records import ENDED, GoneFlow, Unfinished
from sql.session import Database


@patient
def unfinished_dispatches(db: Database) -> tuple[Unfinished, ...]:
    """All of them, oldest first."""
    query = sa.select(Dispatch, Holder).join(Holder).where(Dispatch.state.not_in(ENDED))
    with db.read() as session:
        rows = list(session.execute(query.order_by(Dispatch.created_at, Dispatch.dispatch_id)))
        dead = dead_among(session, [holder for _, holder in rows])
        return tuple(_unfinished(session, row, holder, holder.owner_id in dead) for row, holder in rows)


def _unfinished(session: Session, row: Dispatch, holder: Holder, dead: bool) -> Unfinished:
    jobs = (
        sa.select(JobChunk.job_id)
        .join(Chunk, Chunk.chunk_key == JobChunk.chunk_key)
        .join(Job, Job.job_id == JobChunk.job_id)
        .where(Chunk.dispatch_id == row.dispatch_id, Job.state.not_in(TERMINAL))
        .distinct()
        .order_by(JobChunk.job_id)
    )
    return Unfinished(
        dispatch=record_of_dispatch(row, holder),
        alive=not dead,
        owner_id=holder.owner_id,
        flow_run_id=_flow_run_id(session, holder.owner_id),
        jobs=tuple(session.scalars(jobs)),
    )


@patient
def gone_flows(db: Database) -> tuple[GoneFlow, ...]:
    """Flows that died with jobs in work, whether anything of these was dispatched or not; by their first job."""
    query = sa.select(Job, Holder).join(Holder, Holder.owner_id == Job.owner_id).where(Job.state.not_in(TERMINAL))
    with db.read() as session:
        rows = list(session.execute(query.order_by(Job.job_id)))
        dead = dead_among(session, {holder.owner_id: holder for _, holder in rows}.values())
        jobs: dict[str, list[str]] = {}
        for job, holder in rows:
            if holder.owner_id in dead:
                jobs.setdefault(holder.owner_id, []).append(job.job_id)
        return tuple(GoneFlow(owner, _flow_run_id(session, owner), tuple(left)) for owner, left in jobs.items())


def _flow_run_id(session: Session, owner_id: str) -> str:
    run = session.get(FlowRun, owner_id)
    return run.flow_run_id if run is not None else ""


@patient
def not_recorded_as_done(db: Database, chunk_keys: Iterable[str]) -> tuple[set[str], set[str]]:
    """Of these chunks, those that no plan has (unknown), and those that one has without saying that they are done."""
    keys = set(chunk_keys)
    known: dict[str, bool] = {}
    with db.read() as session:
        for batch in batches(keys):
            columns = (Chunk.chunk_key, Chunk.done_at.is_not(None))
            known.update(
                (key, done) for key, done in session.execute(sa.select(*columns).where(Chunk.chunk_key.in_(batch)))
            )
    return keys - known.keys(), {key for key, done in known.items() if not done}
