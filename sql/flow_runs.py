"""Flow runs: who had something done, with which settings and which code. One row an owner, written when it begins."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy.orm import Session

from sql.inserts import insert_new
from sql.models import Environment, FlowRun
from sql.owners import seen
from sql.patience import patient
from sql.records import FlowRunRecord, Owner
from sql.session import Database


@patient
def record_flow_run(db: Database, owner: Owner, run: FlowRunRecord) -> None:
    """What `owner` does, it does in this flow run. Recorded again, the first time counts."""
    facts = asdict(run)
    packages = facts.pop("packages")
    with db.write() as session:
        seen(session, owner)
        insert_new(session, Environment, [{"lock_digest": run.lock_digest, "packages": packages}])
        insert_new(session, FlowRun, [{"owner_id": owner.owner_id, **facts}])


def flow_run_of(session: Session, owner_id: str | None) -> FlowRunRecord | None:
    """The flow run of an owner, if it was recorded."""
    row = session.get(FlowRun, owner_id) if owner_id is not None else None
    if row is None:
        return None
    return FlowRunRecord(
        flow_run_id=row.flow_run_id,
        flow=row.flow,
        submitted_by=row.submitted_by,
        settings=row.settings,
        code_version=row.code_version,
        packages=session.get_one(Environment, row.lock_digest).packages,
        lock_digest=row.lock_digest,
        image_digest=row.image_digest,
    )
