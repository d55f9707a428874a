"""Edit jobs: recording, looking up, changing state. Every change appends an event in the same transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits import wire
from edits.errors import BusyError, PermanentError, StateError
from edits.job import TERMINAL, TRANSITIONS, EditJob, JobState
from sql.base import utc_now
from sql.inserts import insert_one
from sql.models import Event, Holder, Job
from sql.owners import is_dead, owner_of, seen
from sql.patience import patient
from sql.records import JobEvent, JobRecord, Owner
from sql.session import Database

FAILURES = frozenset({JobState.FAILED, JobState.FAILED_QC})

BATCH = 5000
"""Values in one IN list: below the limits of both databases."""


# -- recording --------------------------------------------------------------------------------------------------------


@patient
def record_job(db: Database, job: EditJob, owner: Owner | None = None, reason: str = "") -> JobRecord:
    """Record a job as planned, or find it: the same row again is the same job, linked to its newest manifest. The
    event names the `owner` that listed it, and the `reason` where no manifest is it.

    Raises:
        DatabaseError: its manifest or its source is not recorded.
    """
    columns = _columns(job)
    with db.write() as session:
        if owner is not None:
            seen(session, owner)
        new = insert_one(session, Job, {"job_id": job.job_id, **columns})
        row = load(session, job.job_id)
        if new:
            listed = f"listed in manifest {job.manifest_id}, line {job.line}"
            append_event(session, row, None, reason or listed, owner=owner)
        elif row.request != columns["request"]:
            _relist(session, row, columns, owner)
        session.flush()
        return record_of(session, row)


def _columns(job: EditJob) -> dict[str, Any]:
    names = ("manifest_id", "line", "source_sha256", "project", "priority", "editor", "weights", "output")
    return {**{name: getattr(job, name) for name in names}, "request": json.loads(wire.dump(job))}


def _relist(session: Session, row: Job, columns: dict[str, Any], owner: Owner | None) -> None:
    moved = (row.manifest_id, row.line) != (columns["manifest_id"], columns["line"])
    for name, value in columns.items():
        setattr(row, name, value)
    if moved:
        reason = f"listed again in manifest {row.manifest_id}, line {row.line}"
        append_event(session, row, row.state, reason, owner=owner)


# -- looking up -------------------------------------------------------------------------------------------------------


@patient
def job(db: Database, job_id: str) -> JobRecord:
    """The job with this id, or the only one whose id begins so.

    Raises:
        PermanentError: none, or several.
    """
    with db.read() as session:
        return record_of(session, session.get_one(Job, full_id(session, job_id)))


@patient
def jobs(
    db: Database,
    manifest_id: str | None = None,
    states: Collection[JobState] | None = None,
    limit: int | None = 1000,
) -> tuple[JobRecord, ...]:
    """A manifest's jobs in the order of its lines, or all, the last changed first; at most `limit` of them."""
    with db.read() as session:
        return tuple(record_of(session, row) for row in rows_of(session, manifest_id, states, limit))


@patient
def known_jobs(db: Database, job_ids: Iterable[str]) -> set[str]:
    """Those of `job_ids` that are recorded."""
    found: set[str] = set()
    with db.read() as session:
        for batch in batches(job_ids):
            found.update(session.scalars(sa.select(Job.job_id).where(Job.job_id.in_(batch))))
    return found


@patient
def is_promised(db: Database, output: str, job_id: str) -> bool:
    """Whether another job than this, which has not ended, is to write this output: one that awaits its review, say."""
    others = sa.select(Job.job_id).where(Job.output == output, Job.job_id != job_id, Job.state.not_in(TERMINAL))
    with db.read() as session:
        return session.scalars(others.limit(1)).first() is not None


def rows_of(
    session: Session, manifest_id: str | None, states: Collection[JobState] | None, limit: int | None
) -> list[Job]:
    query = sa.select(Job).limit(limit)
    if manifest_id is None:
        query = query.order_by(Job.updated_at.desc(), Job.job_id)
    else:
        query = query.where(Job.manifest_id == manifest_id).order_by(Job.line)
    if states is not None:
        query = query.where(Job.state.in_(states))
    return list(session.scalars(query))


@patient
def job_events(db: Database, job_id: str) -> tuple[JobEvent, ...]:
    """A job's history, oldest first."""
    with db.read() as session:
        query = sa.select(Event).where(Event.job_id == full_id(session, job_id)).order_by(Event.event_id)
        return tuple(event_of(row) for row in session.scalars(query))


def load(session: Session, job_id: str) -> Job:
    """The row, locked until the transaction's end where it writes."""
    row = session.get(Job, job_id, with_for_update=True)
    if row is None:
        raise PermanentError(f"there is no job {job_id}: `samaflow status` lists them")
    return row


def full_id(session: Session, prefix: str) -> str:
    if session.get(Job, prefix) is not None:
        return prefix
    found: list[str] = []
    if re.fullmatch("[0-9a-f]+", prefix):
        # A range instead of LIKE: it uses the key's index on both databases. 'g' follows every hex digit.
        between = sa.select(Job.job_id).where(Job.job_id >= prefix, Job.job_id < prefix + "g")
        found = list(session.scalars(between.order_by(Job.job_id).limit(5)))
    if len(found) == 1:
        return found[0]
    if found:
        raise PermanentError(f"several jobs begin with '{prefix}' ({', '.join(found)}): write more of the id")
    raise PermanentError(f"there is no job {prefix!r}: `samaflow status` lists them")


# -- changing ---------------------------------------------------------------------------------------------------------


@patient
def change_state(
    db: Database, job_id: str, to: JobState, reason: str, category: str = "", owner: Owner | None = None
) -> JobRecord:
    """Move a job on, with an event. A failure's reason and category stay on the job until it is planned anew.

    Raises:
        StateError: the job's life does not allow the change.
        BusyError: `owner` is given and another flow holds the job's lease.
        PermanentError: no such job.
    """
    with db.write() as session:
        row = load(session, job_id)
        if owner is not None and row.owner_id not in (None, owner.owner_id):
            raise BusyError(f"job {job_id} was taken over by another flow: leave it to that one")
        move(session, row, to, reason, category)
        session.flush()
        session.refresh(row)
        return record_of(session, row)


_WAY = (JobState.PLANNED, JobState.SPLITTING, JobState.QUEUED, JobState.STITCHING, JobState.CHECKING)


@patient
def walk_to_delivered(db: Database, job_id: str, reason: str) -> None:
    """The deliverable stands, and the job does not know it yet: take the steps that are left, with `reason`.

    Raises:
        StateError: the job cannot get there from its state.
        PermanentError: no such job.
    """
    with db.write() as session:
        row = load(session, job_id)
        rest = _WAY[_WAY.index(row.state) + 1 :] if row.state in _WAY else _WAY
        for step in (*rest, JobState.DELIVERED):
            move(session, row, step, reason)
            session.flush()


def move(session: Session, row: Job, to: JobState, reason: str, category: str = "") -> None:
    """The change itself, within a transaction."""
    before = row.state
    if to not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before]))
        raise StateError(f"job {row.job_id} is {before} and cannot become {to}: it can become {allowed}")
    row.state = to
    row.updated_at = utc_now()
    row.failure_category = category if to in FAILURES else ""
    row.failure_message = reason if to in FAILURES else ""
    if to is JobState.PLANNED:
        row.cancel_requested_at = None
    append_event(session, row, before, reason, category)


def append_event(
    session: Session,
    row: Job,
    before: JobState | None,
    reason: str,
    category: str = "",
    owner: Owner | None = None,
) -> None:
    """The event's flow run is `owner`'s, or that of whoever holds the job."""
    by = owner.owner_id if owner is not None else row.owner_id
    event = Event(job_id=row.job_id, before=before, after=row.state, reason=reason, category=category, owner_id=by)
    session.add(event)


@patient
def request_cancel(db: Database, job_id: str, reason: str = "asked to cancel") -> JobRecord:
    """Ask the flow that works on a job to cancel it; cancel it here and now when no live flow does.

    A job that is delivered, failed or cancelled stays as it is.
    """
    with db.write() as session:
        row = load(session, full_id(session, job_id))
        if row.state not in TERMINAL:
            _cancel(session, row, reason)
        session.flush()
        session.refresh(row)
        return record_of(session, row)


def _cancel(session: Session, row: Job, reason: str) -> None:
    holder = session.get(Holder, row.owner_id) if row.owner_id else None
    if holder is None or is_dead(session, holder):
        move(session, row, JobState.CANCELLED, reason)
    elif row.cancel_requested_at is None:
        row.cancel_requested_at = utc_now()
        append_event(session, row, row.state, f"{reason}: waiting for its flow", "cancelled")


@patient
def cancel_requested(db: Database, owner: Owner) -> set[str]:
    """Jobs that this flow holds, that somebody asked to cancel and that have not ended yet."""
    asked = sa.select(Job.job_id).where(Job.owner_id == owner.owner_id, Job.cancel_requested_at.is_not(None))
    with db.read() as session:
        return set(session.scalars(asked.where(Job.state.not_in(TERMINAL))))


# -- pausing -----------------------------------------------------------------------------------------------------------


@patient
def pause_job(db: Database, job_id: str, paused: bool) -> JobRecord:
    """Let nothing more of a job be dispatched, or let it again; what is dispatched goes on. Repeating it is harmless.

    Raises:
        PermanentError: no such job.
        StateError: it has ended.
    """
    with db.write() as session:
        row = load(session, full_id(session, job_id))
        if row.state in TERMINAL:
            raise StateError(f"job {row.job_id} is {row.state}: there is nothing of it to dispatch")
        if paused != (row.paused_at is not None):
            row.paused_at = utc_now() if paused else None
            append_event(session, row, row.state, "paused" if paused else "resumed", "paused")
        session.flush()
        session.refresh(row)
        return record_of(session, row)


@patient
def paused_jobs(db: Database, owner: Owner) -> set[str]:
    """Jobs that this flow holds and that are paused."""
    paused = sa.select(Job.job_id).where(Job.owner_id == owner.owner_id, Job.paused_at.is_not(None))
    with db.read() as session:
        return set(session.scalars(paused))


@patient
def note(db: Database, job_id: str, reason: str, category: str) -> None:
    """Something that happened to a job and is no change of its state."""
    with db.write() as session:
        row = load(session, job_id)
        append_event(session, row, row.state, reason, category)


# -- rows to records --------------------------------------------------------------------------------------------------


def record_of(session: Session, row: Job) -> JobRecord:
    holder = session.get(Holder, row.owner_id) if row.owner_id else None
    return JobRecord(
        job=request_of(row.request, row.job_id),
        state=row.state,
        failure_category=row.failure_category,
        failure_message=row.failure_message,
        owner=owner_of(holder) if holder else None,
        cancel_requested=row.cancel_requested_at is not None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def request_of(request: dict[str, Any], job_id: str) -> EditJob:
    return wire.load(EditJob, json.dumps(request).encode(), f"edit_job {job_id}")


def event_of(row: Event) -> JobEvent:
    return JobEvent(row.job_id, row.at, row.before, row.after, row.reason, row.category)


def batches(values: Iterable[str]) -> Iterable[list[str]]:
    """`values` without duplicates, sorted (two transactions then lock rows in one order), at most `BATCH` at a time."""
    ordered = sorted(set(values))
    return (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH))
