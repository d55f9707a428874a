"""Dispatches, their claims on chunks and their rounds.

A chunk's row names the dispatch that claimed it last; the claim holds while that dispatch has not ended. So a chunk
has one active claim by construction, and ending a dispatch ends all its claims at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.errors import BusyError, DatabaseError, PermanentError, StateError
from edits.job import TERMINAL
from sql.base import utc_now
from sql.edit_jobs import batches
from sql.inserts import insert_one
from sql.models import Chunk, Dispatch, Holder, Job, JobChunk, Round
from sql.owners import dead_among, is_dead, owner_of, seen
from sql.patience import patient
from sql.records import ENDED, ClaimResult, DispatchRecord, DispatchState, Owner
from sql.session import Database

_ACTIVE = Dispatch.state.not_in(ENDED)


# -- claims -----------------------------------------------------------------------------------------------------------


@patient
def claim(db: Database, dispatch: DispatchRecord, chunk_keys: Sequence[str], owner: Owner) -> ClaimResult:
    """Claim those of the chunks that no unfinished dispatch holds, for a new dispatch of `owner`'s. One transaction.

    What is held stays held even if its owner is dead: its workers may still run, so that dispatch is to be adopted
    (`adoptable`), not robbed. When nothing could be claimed, no dispatch is recorded. Look at the markers of what was
    claimed once more before packing: another dispatch may have finished it just before.

    Raises:
        DatabaseError: a chunk that is in no recorded plan.
        StateError: the dispatch is recorded already.
    """
    with db.write() as session:
        seen(session, owner)
        held = _lock_and_look(session, chunk_keys)
        claimed = tuple(key for key in dict.fromkeys(chunk_keys) if key not in held)
        if claimed:
            _record(session, dispatch, owner)
            _give(session, claimed, dispatch.dispatch_id, Job.owner_id == owner.owner_id)
        return ClaimResult(claimed, held)


def _lock_and_look(session: Session, chunk_keys: Sequence[str]) -> dict[str, str]:
    held: dict[str, str] = {}
    for batch in batches(chunk_keys):
        rows = sa.select(Chunk.chunk_key).where(Chunk.chunk_key.in_(batch)).order_by(Chunk.chunk_key)
        missing = set(batch) - set(session.scalars(rows.with_for_update()))
        if missing:
            raise DatabaseError(
                f"chunk {min(missing)} is in no recorded plan: record its job's plan before claiming it"
            )
        # A second statement: on PostgreSQL the first one's snapshot may be older than the locks that it waited for.
        claims = sa.select(Chunk.chunk_key, Dispatch.dispatch_id).join(Dispatch).where(Chunk.chunk_key.in_(batch))
        held.update((key, holder) for key, holder in session.execute(claims.where(_ACTIVE)))
    return held


def _record(session: Session, dispatch: DispatchRecord, owner: Owner) -> None:
    names = ("dispatch_id", "editor", "weights", "weights_digest")
    row = {**{name: getattr(dispatch, name) for name in names}, "owner_id": owner.owner_id}
    if not insert_one(session, Dispatch, row):
        raise StateError(f"dispatch {dispatch.dispatch_id} is recorded already: a dispatch is made once")


def _give(session: Session, claimed: Iterable[str], dispatch_id: str, *whose: sa.ColumnElement[bool]) -> None:
    """Its GPU-seconds go to the first of the jobs (`whose`, else all) that need it, in the order of dispatching."""
    needing = sa.select(Job.job_id).join(JobChunk).where(JobChunk.chunk_key == Chunk.chunk_key, *whose)
    payer = needing.order_by(Job.priority.desc(), Job.line, Job.job_id).limit(1).scalar_subquery()
    for batch in batches(claimed):
        change = sa.update(Chunk).where(Chunk.chunk_key.in_(batch)).values(dispatch_id=dispatch_id, claimed_for=payer)
        session.execute(change, execution_options={"synchronize_session": False})


@patient
def claims_on(db: Database, chunk_keys: Iterable[str]) -> tuple[set[str], set[str]]:
    """Of these chunks, those that an unfinished dispatch holds, and those that were recorded as done by anybody."""
    held: set[str] = set()
    done: set[str] = set()
    with db.read() as session:
        for batch in batches(chunk_keys):
            wanted = Chunk.chunk_key.in_(batch)
            held.update(session.scalars(sa.select(Chunk.chunk_key).join(Dispatch).where(wanted, _ACTIVE)))
            done.update(session.scalars(sa.select(Chunk.chunk_key).where(wanted, Chunk.done_at.is_not(None))))
    return held, done


@patient
def claimed_chunks(db: Database, dispatch_id: str) -> tuple[str, ...]:
    """The keys of the chunks that this dispatch holds; none when it has ended."""
    with db.read() as session:
        return tuple(session.scalars(_held_by(dispatch_id)))


@patient
def unwanted_chunks(db: Database, dispatch_id: str) -> tuple[str, ...]:
    """Chunks of this dispatch that no job needs any more: all jobs with them are delivered, failed or cancelled."""
    wanted = sa.select(JobChunk.chunk_key).join(Job).where(Job.state.not_in(TERMINAL))
    with db.read() as session:
        query = _held_by(dispatch_id).where(~wanted.where(JobChunk.chunk_key == Chunk.chunk_key).exists())
        return tuple(session.scalars(query))


def _held_by(dispatch_id: str) -> sa.Select[tuple[str]]:
    query = sa.select(Chunk.chunk_key).join(Dispatch).where(Chunk.dispatch_id == dispatch_id, _ACTIVE)
    return query.order_by(Chunk.chunk_key)


# -- adoption ---------------------------------------------------------------------------------------------------------


@patient
def adoptable(db: Database, chunk_keys: Iterable[str]) -> list[DispatchRecord]:
    """Unfinished dispatches that hold any of these chunks and whose owner is dead, oldest first."""
    found: dict[str, tuple[Dispatch, Holder]] = {}
    with db.read() as session:
        for batch in batches(chunk_keys):
            holding = sa.select(Chunk.dispatch_id).where(Chunk.chunk_key.in_(batch))
            query = sa.select(Dispatch, Holder).join(Holder).where(_ACTIVE, Dispatch.dispatch_id.in_(holding))
            found.update({row.dispatch_id: (row, holder) for row, holder in session.execute(query)})
        dead = dead_among(session, [holder for _, holder in found.values()])
        records = [record_of_dispatch(row, holder) for row, holder in found.values() if holder.owner_id in dead]
    return sorted(records, key=lambda record: (record.created_at, record.dispatch_id))


@patient
def adopt(db: Database, dispatch_id: str, owner: Owner) -> bool:
    """Take an unfinished dispatch over from a dead owner. False when it has ended or somebody else's flow lives.

    Raises:
        PermanentError: no such dispatch.
    """
    with db.write() as session:
        seen(session, owner)
        row = load_dispatch(session, dispatch_id)
        if row.state in ENDED:
            return False
        if row.owner_id == owner.owner_id:
            return True
        if not is_dead(session, session.get_one(Holder, row.owner_id)):
            return False
        row.owner_id = owner.owner_id
        return True


# -- its life ---------------------------------------------------------------------------------------------------------


@patient
def dispatch(db: Database, dispatch_id: str) -> DispatchRecord:
    """Look one up.

    Raises:
        PermanentError: no such dispatch.
    """
    with db.read() as session:
        row = session.get(Dispatch, dispatch_id)
        if row is None:
            raise _unknown(dispatch_id)
        return record_of_dispatch(row, session.get_one(Holder, row.owner_id))


@patient
def record_shards(db: Database, dispatch_id: str, shards: int, digest: str, owner: Owner) -> None:
    """The shards are in the store: `shards` of them, with this digest over all. From now on they are never packed anew.

    Raises:
        StateError: it has ended, or was written before.
        BusyError: another flow has taken it over.
    """
    with db.write() as session:
        row = _load_active(session, dispatch_id, owner)
        if row.state is not DispatchState.CLAIMED:
            raise StateError(f"dispatch {dispatch_id} has its {row.shards} shards already: read them from the store")
        row.state, row.shards, row.digest = DispatchState.WRITTEN, shards, digest


@patient
def begin_round(db: Database, dispatch_id: str, owner: Owner | None = None, cause: str = "") -> int:
    """Count a new round, with the `cause` that there has to be one; its number, from 1. With `owner`, only while it
    holds the dispatch.

    Raises:
        StateError: the dispatch has ended.
        BusyError: another flow has taken it over.
    """
    with db.write() as session:
        row = _load_active(session, dispatch_id, owner)
        row.rounds += 1
        session.add(Round(dispatch_id=dispatch_id, round=row.rounds, cause=cause, owner_id=row.owner_id))
        return row.rounds


@patient
def end_dispatch(db: Database, dispatch_id: str, state: DispatchState, reason: str, owner: Owner | None = None) -> None:
    """End a dispatch and its claims; `state` is done, failed or withdrawn. With `owner`, only while that holds it.

    Raises:
        StateError: not an end, or it has ended already.
        BusyError: another flow has taken it over.
    """
    if state not in ENDED:
        raise StateError(f"a dispatch cannot end as {state}: it ends as {', '.join(sorted(ENDED))}")
    with db.write() as session:
        row = _load_active(session, dispatch_id, owner)
        row.state, row.reason = state, reason
        row.ended_at = utc_now()


@patient
def ended_dispatches(db: Database, since: datetime) -> tuple[str, ...]:
    """Those that have ended at `since` or later."""
    query = sa.select(Dispatch.dispatch_id).where(Dispatch.ended_at >= since).order_by(Dispatch.dispatch_id)
    with db.read() as session:
        return tuple(session.scalars(query))


@patient
def record_lost_dispatch(
    db: Database, dispatch: DispatchRecord, chunk_keys: Iterable[str], rounds: int, owner: Owner, reason: str
) -> None:
    """A dispatch of which the store alone is left, as ended; for which job it had its chunks edited, nobody knows any
    more, so the first that needs them pays. One that is recorded stays as it is."""
    names = ("dispatch_id", "editor", "weights", "weights_digest", "shards")
    facts = {**{name: getattr(dispatch, name) for name in names}, "owner_id": owner.owner_id, "rounds": rounds}
    with db.write() as session:
        seen(session, owner)
        ended = {"state": DispatchState.FAILED, "reason": reason, "ended_at": utc_now()}
        if insert_one(session, Dispatch, {**facts, **ended}):
            _give(session, chunk_keys, dispatch.dispatch_id)


def load_dispatch(session: Session, dispatch_id: str) -> Dispatch:
    """The row, locked until the transaction's end where it writes."""
    row = session.get(Dispatch, dispatch_id, with_for_update=True)
    if row is None:
        raise _unknown(dispatch_id)
    return row


def _load_active(session: Session, dispatch_id: str, owner: Owner | None) -> Dispatch:
    row = load_dispatch(session, dispatch_id)
    if row.state in ENDED:
        raise StateError(f"dispatch {dispatch_id} has ended ({row.state}: {row.reason})")
    if owner is not None and row.owner_id != owner.owner_id:
        raise BusyError(f"dispatch {dispatch_id} was taken over by another flow: leave it to that one")
    return row


def _unknown(dispatch_id: str) -> PermanentError:
    return PermanentError(f"there is no dispatch {dispatch_id} in the database")


def record_of_dispatch(row: Dispatch, holder: Holder) -> DispatchRecord:
    return DispatchRecord(
        dispatch_id=row.dispatch_id,
        editor=row.editor,
        weights=row.weights,
        weights_digest=row.weights_digest,
        shards=row.shards,
        digest=row.digest,
        state=row.state,
        rounds=row.rounds,
        owner=owner_of(holder),
        created_at=row.created_at,
        ended_at=row.ended_at,
        reason=row.reason,
    )
