"""Who holds jobs and dispatches, and whether it still lives.

An owner on this host is looked up by pid and start time: a killed flow's work is free at once. One on another host
counts as dead when it was not seen for `STALE_SECONDS` by the database's clock.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy.orm import Session

from sql.base import utc_now
from sql.inserts import upsert
from sql.models import Dispatch, Holder, Job, TrainingRun
from sql.records import ENDED, Holdings, Owner, TrainingState
from sql.session import Database

STALE_SECONDS = 60.0
"""An owner that was not seen for this long is dead, wherever it runs. `beat` at least every quarter of it."""

_START_TOLERANCE = 2.0
"""Seconds. The start is counted from the boot time, which moves when the clock is set."""


def this_process() -> Owner:
    """A new owner that lives as long as this process: one for each flow run."""
    process = psutil.Process()
    return Owner(uuid.uuid4().hex, _host(), process.pid, process.create_time())


def beat(db: Database, owner: Owner) -> Holdings:
    """Say that `owner` lives: refreshes the lease on all its jobs and dispatches. Returns what it still holds."""
    with db.write() as session:
        seen(session, owner)
        jobs = session.scalars(sa.select(Job.job_id).where(Job.owner_id == owner.owner_id))
        held = sa.select(Dispatch.dispatch_id).where(Dispatch.owner_id == owner.owner_id, Dispatch.state.not_in(ENDED))
        return Holdings(frozenset(jobs), frozenset(session.scalars(held)))


def seen(session: Session, owner: Owner) -> None:
    """Record `owner` and the present time."""
    upsert(session, Holder, ["owner_id"], asdict(owner), {"seen_at": utc_now()})


def is_dead(session: Session, holder: Holder) -> bool:
    """Whether the flow behind this row is gone."""
    return bool(dead_among(session, [holder]))


def dead_among(session: Session, holders: Iterable[Holder]) -> set[str]:
    """The ids of those that are gone, by one reading of the database's clock."""
    now = session.scalars(sa.select(utc_now())).one()
    return {holder.owner_id for holder in holders if owner_is_dead(owner_of(holder), now - holder.seen_at)}


def owner_is_dead(owner: Owner, unseen: timedelta, stale_seconds: float = STALE_SECONDS) -> bool:
    """The rule: same host and no such process, or not seen for longer than `stale_seconds`."""
    if owner.host == _host() and not _runs(owner):
        return True
    return unseen > timedelta(seconds=stale_seconds)


def at_work(session: Session) -> list[Owner]:
    """Live flows that hold jobs or unfinished dispatches, or train. Reads only what older revisions have already: the
    first one's columns, and trainings where there is a table of them."""
    holds = [
        sa.exists().where(Job.owner_id == Holder.owner_id),
        sa.exists().where(Dispatch.owner_id == Holder.owner_id, Dispatch.state.not_in(ENDED)),
    ]
    if sa.inspect(session.connection()).has_table(TrainingRun.__tablename__):
        trains = TrainingRun.state == TrainingState.TRAINING
        holds.append(sa.exists().where(TrainingRun.owner_id == Holder.owner_id, trains))
    columns = (Holder.owner_id, Holder.host, Holder.pid, Holder.process_started, Holder.seen_at)
    rows = session.execute(sa.select(*columns).where(sa.or_(*holds)).order_by(Holder.owner_id))
    holders = [Holder(**row._mapping) for row in rows]
    dead = dead_among(session, holders)
    return [owner_of(holder) for holder in holders if holder.owner_id not in dead]


def owner_of(holder: Holder) -> Owner:
    return Owner(holder.owner_id, holder.host, holder.pid, holder.process_started)


def _runs(owner: Owner) -> bool:
    try:
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        started: float = process.create_time()
        return abs(started - owner.process_started) <= _START_TOLERANCE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        # It is there and not ours to look at: only its silence can tell.
        return True


@cache
def _host() -> str:
    """Containers can share a host name: the process namespace tells apart whose pids can be looked up."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"
    parts = [socket.gethostname()]
    if boot.exists() and os.path.lexists(namespace):
        parts += [boot.read_text().strip(), os.readlink(namespace)]
    return "/".join(parts)
