"""What reviewers decided of jobs. Append-only: who decided, as claimed, what, why, and of which bytes."""

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
    db: Database, job_id: str, decision: Decision, reviewer: str, reason: str = "", sha256: str = ""
) -> None:
    """Add a decision. `sha256`: of the deliverable that was looked at, empty for a preview.

    Raises:
        PermanentError: no such job.
    """
    with db.write() as session:
        load(session, job_id)
        session.add(Approval(job_id=job_id, sha256=sha256, decision=decision, reviewer=reviewer, reason=reason))


@patient
def approvals(db: Database, job_id: str) -> tuple[ApprovalRecord, ...]:
    """A job's decisions, oldest first."""
    with db.read() as session:
        query = sa.select(Approval).where(Approval.job_id == full_id(session, job_id)).order_by(Approval.approval_id)
        return tuple(
            ApprovalRecord(row.job_id, row.decision, row.reviewer, row.reason, row.sha256, row.recorded_at)
            for row in session.scalars(query)
        )


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
