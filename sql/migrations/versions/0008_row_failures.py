"""Rows that never became jobs: a source that cannot be read, a cell that is wrong.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sql.base import UtcDateTime, utc_now
from sql.views import create_view, drop_view

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "row_failure",
        sa.Column("failure_id", sa.Integer(), nullable=False),
        sa.Column("manifest_id", sa.String(64), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(32), server_default=sa.text("''"), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("failed_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifest.manifest_id"], name=op.f("fk_row_failure_manifest_id_manifest")
        ),
        sa.PrimaryKeyConstraint("failure_id", name=op.f("pk_row_failure")),
    )
    op.create_index(op.f("ix_row_failure_manifest_id"), "row_failure", ["manifest_id"])
    drop_view(op.get_bind(), "failure_cause")
    create_view(op.get_bind(), "failure_cause", revision)


def downgrade() -> None:
    drop_view(op.get_bind(), "failure_cause")
    create_view(op.get_bind(), "failure_cause", "0007")
    op.drop_index(op.f("ix_row_failure_manifest_id"), table_name="row_failure")
    op.drop_table("row_failure")
