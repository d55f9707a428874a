"""What a million rows need to answer at once: chunks that say whether a deliverable was made of them, and an index of
the deliverables alone.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DELIVERABLES = "ix_artifact_job_id_deliverable"

CARRY_OVER = """
UPDATE chunk SET delivered = TRUE WHERE chunk_key IN (
    SELECT artifact.key
    FROM artifact_input JOIN artifact ON artifact.artifact_id = artifact_input.input_id
    WHERE artifact_input.role = 'chunk'
)
"""


def upgrade() -> None:
    op.add_column("chunk", sa.Column("delivered", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(CARRY_OVER)
    op.create_index(op.f("ix_chunk_delivered_done_at"), "chunk", ["delivered", "done_at"])
    only = sa.text("kind = 'deliverable'")
    op.create_index(op.f(DELIVERABLES), "artifact", ["job_id"], sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    op.drop_index(op.f(DELIVERABLES), table_name="artifact")
    op.drop_index(op.f("ix_chunk_delivered_done_at"), table_name="chunk")
    op.drop_column("chunk", "delivered")
