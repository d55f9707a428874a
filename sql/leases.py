"""The lease on a job: one live flow works on it at a time."""

from __future__ import annotations

from sqlalchemy.orm import Session

from sql.edit_jobs import append_event, load
from sql.models import Holder, Job
from sql.owners import is_dead, seen
from sql.patience import patient
from sql.records import Owner
from sql.session import Database


@patient
def take_job(db: Database, job_id: str, owner: Owner) -> bool:
    """Take the lease: True when it was free, is `owner`'s already, or its holder is dead.

    Raises:
        PermanentError: no such job.
    """
    with db.write() as session:
        seen(session, owner)
        row = load(session, job_id)
        if row.owner_id == owner.owner_id:
            return True
        if row.owner_id is not None and not _take_over(session, row):
            return False
        row.owner_id = owner.owner_id
        return True


def _take_over(session: Session, row: Job) -> bool:
    holder = session.get_one(Holder, row.owner_id)
    if not is_dead(session, holder):
        return False
    append_event(session, row, row.state, f"taken over: process {holder.pid} on {holder.host} is gone")
    return True


@patient
def release_job(db: Database, job_id: str, owner: Owner) -> None:
    """Give the lease back. A lease that another flow has taken over stays with that one."""
    with db.write() as session:
        row = load(session, job_id)
        if row.owner_id == owner.owner_id:
            row.owner_id = None
