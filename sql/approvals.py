"""What reviewers decided of jobs: who decided, as claimed, what, why, and of which bytes. Nothing is taken back; all
that is added later is which job took the place of a changed one."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from edits.job import JobState
from sql.base import utc_now
from sql.edit_jobs import full_id, load, record_of
from sql.models import Approval, Job
from sql.patience import patient
from sql.records import ApprovalRecord, Decision, JobRecord
from sql.session import Database


@patient
def record_approval(
    db: Database,
    job_id: str,
    decision: Decision,
    reviewer: str,
    reason: str = "",
    sha256: str = "",
    changes: str = "",
) -> None:
    """Add a decision. `sha256`: of the deliverable that was looked at, empty for a preview. `changes`: what is to be
    other in the job that takes this one's place.

    Raises:
        PermanentError: no such job.
    """
    with db.write() as session:
        load(session, job_id)
        decided = {"sha256": sha256, "decision": decision, "reviewer": reviewer, "reason": reason, "changes": changes}
        session.add(Approval(job_id=job_id, **decided))


@patient
def approvals(db: Database, job_id: str) -> tuple[ApprovalRecord, ...]:
    """A job's decisions, oldest first."""
    with db.read() as session:
        query = sa.select(Approval).where(Approval.job_id == full_id(session, job_id)).order_by(Approval.approval_id)
        return tuple(_record_of(row) for row in session.scalars(query))


def _record_of(row: Approval) -> ApprovalRecord:
    decided = (row.job_id, row.decision, row.reviewer, row.reason, row.sha256, row.recorded_at)
    return ApprovalRecord(*decided, row.changes, row.successor_id)


@patient
def record_successor(db: Database, job_id: str, successor_id: str) -> None:
    """Note at the newest change of the job which other took its place."""
    newest = sa.select(sa.func.max(Approval.approval_id)).where(Approval.job_id == job_id, Approval.changes != "")
    with db.write() as session:
        change = sa.update(Approval).where(Approval.approval_id == newest.scalar_subquery())
        session.execute(change.values(successor_id=successor_id))


@patient
def change_before(db: Database, job_id: str) -> ApprovalRecord | None:
    """The newest change that put this job in the place of another."""
    query = sa.select(Approval).where(Approval.successor_id == job_id).order_by(Approval.approval_id.desc()).limit(1)
    with db.read() as session:
        row = session.scalars(query).one_or_none()
        return None if row is None else _record_of(row)


def is_approved(db: Database, job_id: str) -> bool:
    """Whether the job's last decision lets it be delivered."""
    decisions = approvals(db, job_id)
    return bool(decisions) and decisions[-1].decision is Decision.APPROVED


@patient
def overdue_reviews(db: Database, hours: float) -> tuple[JobRecord, ...]:
    """Jobs that have awaited their review for longer than `hours`, by the database's clock."""
    with db.read() as session:
        now = session.scalars(sa.select(utc_now())).one()
        query = sa.select(Job).where(
            Job.state == JobState.AWAITING_REVIEW, Job.updated_at < now - timedelta(hours=hours)
        )
        return tuple(record_of(session, row) for row in session.scalars(query.order_by(Job.updated_at)))
