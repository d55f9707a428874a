"""Names of workers, of which Kubernetes starts several for one shard, and jobs that are paused.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sql.base import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("worker", sa.String(length=64), server_default=sa.text("''"), nullable=False))
    op.add_column("edit_job", sa.Column("paused_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("edit_job", "paused_at")
    op.drop_column("attempt", "worker")
