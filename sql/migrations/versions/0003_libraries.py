"""Files of libraries under a style.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sql.base import UtcDateTime, utc_now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EMPTY = sa.text("''")


def upgrade() -> None:
    op.create_table(
        "library_item",
        sa.Column("library_id", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("category", sa.String(length=32), server_default=_EMPTY, nullable=False),
        sa.Column("message", sa.Text(), server_default=_EMPTY, nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=True),
        sa.Column("updated_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["edit_job.job_id"], name=op.f("fk_library_item_job_id_edit_job")),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.owner_id"], name=op.f("fk_library_item_owner_id_owner")),
        sa.PrimaryKeyConstraint("library_id", "uri", name=op.f("pk_library_item")),
    )
    op.create_index(op.f("ix_library_item_job_id"), "library_item", ["job_id"], unique=False)
    op.create_index(op.f("ix_library_item_owner_id"), "library_item", ["owner_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_library_item_owner_id"), table_name="library_item")
    op.drop_index(op.f("ix_library_item_job_id"), table_name="library_item")
    op.drop_table("library_item")
