"""Who had it done and with what, shares of GPU time and their daily totals, streams, and the views that answer.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

from sql.base import BigId, Json, UtcDateTime, utc_now
from sql.views import create_view, drop_view

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")
ZERO = sa.text("0")
VIEWS = (
    "lineage_edge",
    "made_from_source",
    "touched_by_model",
    "gpu_usage",
    "failure_cause",
    "time_in_state",
    "stuck_job",
    "stuck_dispatch",
)


def upgrade() -> None:
    _runs()
    _models()
    _usage()
    _files()
    for name in VIEWS:
        create_view(op.get_bind(), name)
    _carry_over()


def _runs() -> None:
    op.create_table(
        "manifest_content",
        sa.Column("manifest_id", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _foreign_key("manifest_content", "manifest_id", "manifest", "manifest_id"),
        sa.PrimaryKeyConstraint("manifest_id", name=op.f("pk_manifest_content")),
    )
    op.create_table(
        "environment",
        sa.Column("lock_digest", sa.String(length=64), nullable=False),
        sa.Column("packages", Json, nullable=False),
        sa.PrimaryKeyConstraint("lock_digest", name=op.f("pk_environment")),
    )
    op.create_table(
        "flow_run",
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("flow_run_id", sa.String(length=64), server_default=EMPTY, nullable=False),
        sa.Column("flow", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("submitted_by", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("settings", Json, nullable=False),
        sa.Column("code_version", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("lock_digest", sa.String(length=64), nullable=False),
        sa.Column("image_digest", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("started_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        _foreign_key("flow_run", "owner_id", "owner", "owner_id"),
        _foreign_key("flow_run", "lock_digest", "environment", "lock_digest"),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_flow_run")),
    )
    op.create_index(op.f("ix_flow_run_flow_run_id"), "flow_run", ["flow_run_id"])
    op.create_table(
        "dispatch_round",
        sa.Column("dispatch_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cause", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=True),
        sa.Column("started_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        _foreign_key("dispatch_round", "dispatch_id", "dispatch", "dispatch_id"),
        _foreign_key("dispatch_round", "owner_id", "owner", "owner_id"),
        sa.PrimaryKeyConstraint("dispatch_id", "round", name=op.f("pk_dispatch_round")),
    )
    _add_owner("job_event")
    op.create_index(op.f("ix_job_event_at"), "job_event", ["at"])


def _models() -> None:
    op.add_column("model_version", sa.Column("converter", sa.Text(), server_default=EMPTY, nullable=False))
    op.add_column("model_version", sa.Column("loras", sa.Text(), server_default=EMPTY, nullable=False))
    op.create_table(
        "job_model",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("model_version_id", BigId, nullable=False),
        _foreign_key("job_model", "job_id", "edit_job", "job_id"),
        _foreign_key("job_model", "model_version_id", "model_version", "model_version_id"),
        sa.PrimaryKeyConstraint("job_id", "model_version_id", name=op.f("pk_job_model")),
    )
    op.create_index(op.f("ix_job_model_model_version_id"), "job_model", ["model_version_id"])


def _usage() -> None:
    op.create_index(op.f("ix_attempt_ended_at"), "attempt", ["ended_at"])
    op.add_column("attempt", sa.Column("price", sa.Double(), server_default=ZERO, nullable=False))
    op.add_column("attempt", sa.Column("currency", sa.String(length=8), server_default=EMPTY, nullable=False))
    op.create_table(
        "attempt_share",
        sa.Column("share_id", BigId, nullable=False),
        sa.Column("attempt_id", BigId, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("gpu_seconds", sa.Double(), nullable=False),
        _foreign_key("attempt_share", "attempt_id", "attempt", "attempt_id"),
        _foreign_key("attempt_share", "job_id", "edit_job", "job_id"),
        sa.PrimaryKeyConstraint("share_id", name=op.f("pk_attempt_share")),
    )
    op.create_index(op.f("ix_attempt_share_attempt_id"), "attempt_share", ["attempt_id"])
    op.create_index(op.f("ix_attempt_share_job_id"), "attempt_share", ["job_id"])
    op.create_table(
        "daily_usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("editor", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=8), server_default=EMPTY, nullable=False),
        sa.Column("chunks", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("gpu_seconds", sa.Double(), server_default=ZERO, nullable=False),
        sa.Column("cost", sa.Double(), server_default=ZERO, nullable=False),
        sa.PrimaryKeyConstraint("day", "project", "editor", "currency", name=op.f("pk_daily_usage")),
    )


def _files() -> None:
    _add_owner("artifact")
    op.create_table(
        "artifact_stream",
        sa.Column("artifact_id", BigId, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("codec", sa.String(length=64), nullable=False),
        sa.Column("packets", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        _foreign_key("artifact_stream", "artifact_id", "artifact", "artifact_id"),
        sa.PrimaryKeyConstraint("artifact_id", "position", name=op.f("pk_artifact_stream")),
    )
    op.create_index(op.f("ix_artifact_stream_sha256"), "artifact_stream", ["sha256"])


def _foreign_key(table: str, column: str, other: str, key: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.{key}"], name=op.f(f"fk_{table}_{column}_{other}"))


def _add_owner(table: str) -> None:
    """In one statement, which both databases know: SQLite adds no constraint to a table afterwards."""
    key = f"CONSTRAINT fk_{table}_owner_id_owner REFERENCES owner (owner_id)"
    op.execute(f"ALTER TABLE {table} ADD COLUMN owner_id VARCHAR(64) {key}")


# -- what the rows of the first revision tell -------------------------------------------------------------------------


def _carry_over() -> None:
    op.execute(
        "INSERT INTO job_model (job_id, model_version_id) SELECT DISTINCT job_chunk.job_id, chunk.model_version_id"
        " FROM job_chunk JOIN chunk ON chunk.chunk_key = job_chunk.chunk_key"
    )
    _carry_streams()
    _carry_usage()


def _carry_streams() -> None:
    artifact = _table("artifact", "artifact_id", "kind", details=Json)
    stream = _table("artifact_stream", "artifact_id", "position", "kind", "codec", "packets", "sha256")
    query = sa.select(artifact.c.artifact_id, artifact.c.details).where(artifact.c.kind == "deliverable")
    for artifact_id, details in op.get_bind().execute(query).all():
        parts = enumerate(details.get("streams", ()))
        rows = [{"artifact_id": artifact_id, "position": position, **part} for position, part in parts]
        if rows:
            op.get_bind().execute(sa.insert(stream), rows)


def _carry_usage() -> None:
    """An attempt's seconds by the chunks that its dispatch claimed for each job: nearer than that nobody wrote down."""
    bind = op.get_bind()
    attempt = _table("attempt", "attempt_id", "dispatch_id", "gpu_seconds", ended_at=UtcDateTime())
    share = _table("attempt_share", "attempt_id", "job_id", "chunks", "gpu_seconds")
    usage = _table("daily_usage", "project", "editor", "gpu_seconds", day=sa.Date())
    projects, editors = _named("edit_job", "job_id", "project"), _named("dispatch", "dispatch_id", "editor")
    claims = _claims()
    totals: Counter[tuple[Any, str, str]] = Counter()
    for row in bind.execute(sa.select(attempt)).all():
        parts = claims.get(row.dispatch_id, Counter({None: 1}))
        for job_id, count in parts.items():
            facts = {"attempt_id": row.attempt_id, "job_id": job_id, "chunks": 0}
            seconds = row.gpu_seconds * count / parts.total()
            bind.execute(sa.insert(share), {**facts, "gpu_seconds": seconds})
            totals[row.ended_at.date(), projects.get(job_id, ""), editors[row.dispatch_id]] += seconds
    for (day, project, editor), seconds in totals.items():
        facts = {"day": day, "project": project, "editor": editor, "gpu_seconds": seconds}
        bind.execute(sa.insert(usage), facts)


def _claims() -> dict[str, Counter[str | None]]:
    """By dispatch: of its chunks, how many were claimed for which job."""
    chunk = _table("chunk", "dispatch_id", "claimed_for")
    query = sa.select(chunk.c.dispatch_id, chunk.c.claimed_for, sa.func.count()).where(chunk.c.dispatch_id.is_not(None))
    found: dict[str, Counter[str | None]] = {}
    for dispatch_id, job_id, count in op.get_bind().execute(query.group_by(chunk.c.dispatch_id, chunk.c.claimed_for)):
        found.setdefault(dispatch_id, Counter())[job_id] = count
    return found


def _named(table: str, key: str, value: str) -> dict[Any, str]:
    return {row[0]: row[1] for row in op.get_bind().execute(sa.select(_table(table, key, value)))}


def _table(name: str, *columns: str, **typed: sa.types.TypeEngine[Any]) -> sa.TableClause:
    """Only what is read or written here: the models have moved on since."""
    return sa.table(name, *map(sa.column, columns), *(sa.column(column, kind) for column, kind in typed.items()))


def downgrade() -> None:
    for name in reversed(VIEWS):
        drop_view(op.get_bind(), name)
    op.drop_table("artifact_stream")
    op.drop_table("daily_usage")
    op.drop_table("attempt_share")
    op.drop_index(op.f("ix_attempt_ended_at"), table_name="attempt")
    op.drop_table("job_model")
    op.drop_table("dispatch_round")
    op.drop_table("flow_run")
    op.drop_table("environment")
    op.drop_table("manifest_content")
    op.drop_index(op.f("ix_job_event_at"), table_name="job_event")
    for table, column in (
        ("artifact", "owner_id"),
        ("job_event", "owner_id"),
        ("attempt", "price"),
        ("attempt", "currency"),
        ("model_version", "converter"),
        ("model_version", "loras"),
    ):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
