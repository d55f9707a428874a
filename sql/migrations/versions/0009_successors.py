"""What a reviewer changed, apart from why, and which job took the place of the changed one.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")


def upgrade() -> None:
    op.add_column("approval", sa.Column("changes", sa.Text(), server_default=EMPTY, nullable=False))
    op.add_column("approval", sa.Column("successor_id", sa.String(length=64), server_default=EMPTY, nullable=False))
    op.create_index(op.f("ix_approval_successor_id"), "approval", ["successor_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_approval_successor_id"), table_name="approval")
    op.drop_column("approval", "successor_id")
    op.drop_column("approval", "changes")
