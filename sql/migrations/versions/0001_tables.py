"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sql.base import BigId, Json, UtcDateTime, utc_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manifest",
        sa.Column("manifest_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("manifest_id", name=op.f("pk_manifest")),
    )
    op.create_table(
        "model_version",
        sa.Column("model_version_id", BigId, nullable=False),
        sa.Column("editor", sa.String(length=64), nullable=False),
        sa.Column("editor_version", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("model_version_id", name=op.f("pk_model_version")),
        sa.UniqueConstraint(
            "digest",
            "weights",
            "editor",
            "editor_version",
            name=op.f("uq_model_version_digest_weights_editor_editor_version"),
        ),
    )
    op.create_table(
        "owner",
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.Double(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_owner")),
    )
    op.create_table(
        "source",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_source")),
    )
    op.create_table(
        "dispatch",
        sa.Column("dispatch_id", sa.String(length=64), nullable=False),
        sa.Column("editor", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("weights_digest", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("shards", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("digest", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "claimed",
                "written",
                "done",
                "failed",
                "withdrawn",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            server_default="claimed",
            nullable=False,
        ),
        sa.Column("rounds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.owner_id"], name=op.f("fk_dispatch_owner_id_owner")),
        sa.PrimaryKeyConstraint("dispatch_id", name=op.f("pk_dispatch")),
    )
    op.create_index(op.f("ix_dispatch_owner_id"), "dispatch", ["owner_id"], unique=False)
    op.create_index(op.f("ix_dispatch_state"), "dispatch", ["state"], unique=False)
    op.create_table(
        "edit_job",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("manifest_id", sa.String(length=64), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=False),
        sa.Column("project", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("editor", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("request", Json, nullable=False),
        sa.Column("plan", Json, nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "planned",
                "splitting",
                "queued",
                "editing",
                "stitching",
                "checking",
                "awaiting_review",
                "delivered",
                "failed",
                "failed_qc",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            server_default="planned",
            nullable=False,
        ),
        sa.Column("failure_category", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("failure_message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifest.manifest_id"], name=op.f("fk_edit_job_manifest_id_manifest")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.owner_id"], name=op.f("fk_edit_job_owner_id_owner")),
        sa.ForeignKeyConstraint(["source_sha256"], ["source.sha256"], name=op.f("fk_edit_job_source_sha256_source")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_edit_job")),
    )
    op.create_index(op.f("ix_edit_job_manifest_id_line"), "edit_job", ["manifest_id", "line"], unique=False)
    op.create_index(op.f("ix_edit_job_owner_id"), "edit_job", ["owner_id"], unique=False)
    op.create_index(op.f("ix_edit_job_source_sha256"), "edit_job", ["source_sha256"], unique=False)
    op.create_index(op.f("ix_edit_job_state"), "edit_job", ["state"], unique=False)
    op.create_index(op.f("ix_edit_job_updated_at"), "edit_job", ["updated_at"], unique=False)
    op.create_table(
        "approval",
        sa.Column("approval_id", BigId, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "decision",
            sa.Enum("approved", "rejected", name="decision", native_enum=False, create_constraint=True, length=24),
            nullable=False,
        ),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_approval_job_id_edit_job")),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_job_id"), "approval", ["job_id"], unique=False)
    op.create_table(
        "artifact",
        sa.Column("artifact_id", BigId, nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "source",
                "input",
                "chunk",
                "weights",
                "deliverable",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("key", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_artifact_job_id_edit_job")),
        sa.PrimaryKeyConstraint("artifact_id", name=op.f("pk_artifact")),
        sa.UniqueConstraint("uri", "sha256", "job_id", name=op.f("uq_artifact_uri_sha256_job_id")),
    )
    op.create_index(op.f("ix_artifact_job_id"), "artifact", ["job_id"], unique=False)
    op.create_index(op.f("ix_artifact_key"), "artifact", ["key"], unique=False)
    op.create_index(op.f("ix_artifact_sha256"), "artifact", ["sha256"], unique=False)
    op.create_index(
        "uq_artifact_uri_sha256",
        "artifact",
        ["uri", "sha256"],
        unique=True,
        sqlite_where=sa.text("job_id IS NULL"),
        postgresql_where=sa.text("job_id IS NULL"),
    )
    op.create_table(
        "attempt",
        sa.Column("attempt_id", BigId, nullable=False),
        sa.Column("dispatch_id", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("shard_index", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("category", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("gpu_seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("device", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("host", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dispatch_id"], ["dispatch.dispatch_id"], name=op.f("fk_attempt_dispatch_id_dispatch")
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt")),
        sa.UniqueConstraint(
            "dispatch_id", "shard_index", "attempt", name=op.f("uq_attempt_dispatch_id_shard_index_attempt")
        ),
    )
    op.create_table(
        "chunk",
        sa.Column("chunk_key", sa.String(length=64), nullable=False),
        sa.Column("input_key", sa.String(length=64), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=False),
        sa.Column("start_frame", sa.Integer(), nullable=False),
        sa.Column("end_frame", sa.Integer(), nullable=False),
        sa.Column("padding", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("model_version_id", BigId, nullable=False),
        sa.Column("dispatch_id", sa.String(length=64), nullable=True),
        sa.Column("claimed_for", sa.String(length=64), nullable=True),
        sa.Column("output_sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("marker", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["claimed_for"], ["edit_job.job_id"], name=op.f("fk_chunk_claimed_for_edit_job")),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.dispatch_id"], name=op.f("fk_chunk_dispatch_id_dispatch")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.model_version_id"],
            name=op.f("fk_chunk_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(["source_sha256"], ["source.sha256"], name=op.f("fk_chunk_source_sha256_source")),
        sa.PrimaryKeyConstraint("chunk_key", name=op.f("pk_chunk")),
    )
    op.create_index(op.f("ix_chunk_claimed_for"), "chunk", ["claimed_for"], unique=False)
    op.create_index(op.f("ix_chunk_dispatch_id"), "chunk", ["dispatch_id"], unique=False)
    op.create_index(op.f("ix_chunk_input_key"), "chunk", ["input_key"], unique=False)
    op.create_index(op.f("ix_chunk_model_version_id"), "chunk", ["model_version_id"], unique=False)
    op.create_index(op.f("ix_chunk_source_sha256"), "chunk", ["source_sha256"], unique=False)
    op.create_table(
        "job_event",
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column(
            "before",
            sa.Enum(
                "planned",
                "splitting",
                "queued",
                "editing",
                "stitching",
                "checking",
                "awaiting_review",
                "delivered",
                "failed",
                "failed_qc",
                "cancelled",
                name="before",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column(
            "after",
            sa.Enum(
                "planned",
                "splitting",
                "queued",
                "editing",
                "stitching",
                "checking",
                "awaiting_review",
                "delivered",
                "failed",
                "failed_qc",
                "cancelled",
                name="after",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("category", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_job_event_job_id_edit_job")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_job_event")),
    )
    op.create_index(op.f("ix_job_event_job_id_event_id"), "job_event", ["job_id", "event_id"], unique=False)
    op.create_table(
        "qc_result",
        sa.Column("qc_result_id", BigId, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("expected", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("found", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_qc_result_job_id_edit_job")),
        sa.PrimaryKeyConstraint("qc_result_id", name=op.f("pk_qc_result")),
    )
    op.create_index(op.f("ix_qc_result_job_id"), "qc_result", ["job_id"], unique=False)
    op.create_table(
        "artifact_input",
        sa.Column("output_id", BigId, nullable=False),
        sa.Column("input_id", BigId, nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "source",
                "input",
                "chunk",
                "weights",
                "deliverable",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=24,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["input_id"], ["artifact.artifact_id"], name=op.f("fk_artifact_input_input_id_artifact")
        ),
        sa.ForeignKeyConstraint(
            ["output_id"], ["artifact.artifact_id"], name=op.f("fk_artifact_input_output_id_artifact")
        ),
        sa.PrimaryKeyConstraint("output_id", "input_id", name=op.f("pk_artifact_input")),
    )
    op.create_index(op.f("ix_artifact_input_input_id"), "artifact_input", ["input_id"], unique=False)
    op.create_table(
        "job_chunk",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chunk_key", sa.String(length=64), nullable=False),
        sa.Column("shot", sa.Integer(), nullable=False),
        sa.Column("lead", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_key"], ["chunk.chunk_key"], name=op.f("fk_job_chunk_chunk_key_chunk")),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_job_chunk_job_id_edit_job")),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_job_chunk")),
    )
    op.create_index(op.f("ix_job_chunk_chunk_key"), "job_chunk", ["chunk_key"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_job_chunk_chunk_key"), table_name="job_chunk")
    op.drop_table("job_chunk")
    op.drop_index(op.f("ix_artifact_input_input_id"), table_name="artifact_input")
    op.drop_table("artifact_input")
    op.drop_index(op.f("ix_qc_result_job_id"), table_name="qc_result")
    op.drop_table("qc_result")
    op.drop_index(op.f("ix_job_event_job_id_event_id"), table_name="job_event")
    op.drop_table("job_event")
    op.drop_index(op.f("ix_chunk_source_sha256"), table_name="chunk")
    op.drop_index(op.f("ix_chunk_model_version_id"), table_name="chunk")
    op.drop_index(op.f("ix_chunk_input_key"), table_name="chunk")
    op.drop_index(op.f("ix_chunk_dispatch_id"), table_name="chunk")
    op.drop_index(op.f("ix_chunk_claimed_for"), table_name="chunk")
    op.drop_table("chunk")
    op.drop_table("attempt")
    op.drop_index(
        "uq_artifact_uri_sha256",
        table_name="artifact",
        sqlite_where=sa.text("job_id IS NULL"),
        postgresql_where=sa.text("job_id IS NULL"),
    )
    op.drop_index(op.f("ix_artifact_sha256"), table_name="artifact")
    op.drop_index(op.f("ix_artifact_key"), table_name="artifact")
    op.drop_index(op.f("ix_artifact_job_id"), table_name="artifact")
    op.drop_table("artifact")
    op.drop_index(op.f("ix_approval_job_id"), table_name="approval")
    op.drop_table("approval")
    op.drop_index(op.f("ix_edit_job_updated_at"), table_name="edit_job")
    op.drop_index(op.f("ix_edit_job_state"), table_name="edit_job")
    op.drop_index(op.f("ix_edit_job_source_sha256"), table_name="edit_job")
    op.drop_index(op.f("ix_edit_job_owner_id"), table_name="edit_job")
    op.drop_index(op.f("ix_edit_job_manifest_id_line"), table_name="edit_job")
    op.drop_table("edit_job")
    op.drop_index(op.f("ix_dispatch_state"), table_name="dispatch")
    op.drop_index(op.f("ix_dispatch_owner_id"), table_name="dispatch")
    op.drop_table("dispatch")
    op.drop_table("source")
    op.drop_table("owner")
    op.drop_table("model_version")
    op.drop_table("manifest")
