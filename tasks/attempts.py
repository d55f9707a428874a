"""The record of a worker whose end no flow saw, made of its own last words."""

from __future__ import annotations

from datetime import UTC, datetime

import sql
from edits.job import WorkerStatus
from tasks.exits import outcome_of


def attempt_told_by(status: WorkerStatus) -> sql.AttemptRecord:
    """Its host is not known, and it began at the latest when its GPU did."""
    ended = datetime.fromtimestamp(status.updated_at, UTC)
    outcome = outcome_of(status.exit_code) if status.exit_code is not None else None
    return sql.AttemptRecord(
        dispatch_id=status.dispatch_id,
        index=status.index,
        attempt=status.attempt,
        worker=status.worker,
        exit_code=status.exit_code,
        category=outcome.category if outcome else "",
        message=outcome.summary if outcome else "nobody saw it end",
        gpu_seconds=status.gpu_seconds,
        device=status.device,
        host="",
        started_at=datetime.fromtimestamp(status.updated_at - status.gpu_seconds, UTC),
        ended_at=ended,
        chunks=status.edited,
    )
