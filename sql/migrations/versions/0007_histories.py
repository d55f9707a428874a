"""Failure causes out of the jobs' history, and time in states without what a recovery had to make up.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

from sql.views import create_view, drop_view

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

VIEWS = ("failure_cause", "time_in_state")


def upgrade() -> None:
    for name in VIEWS:
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), name, revision)


def downgrade() -> None:
    for name in VIEWS:
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), name)
