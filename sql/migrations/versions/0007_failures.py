"""Rows that never became jobs; failure causes out of the jobs' history and of such rows; time in states without what a
recovery had to make up.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sql.base import UtcDateTime, utc_now
from sql.views import create_view, drop_view

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

VIEWS = ("failure_cause", "time_in_state")


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
    for name in VIEWS:
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), name, revision)


def downgrade() -> None:
    for name in VIEWS:
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), name)
    op.drop_index(op.f("ix_row_failure_manifest_id"), table_name="row_failure")
    op.drop_table("row_failure")
