"""Training runs: what they were made of, how far they are, their figures, and the examples that they left out.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from sql.base import UtcDateTime, utc_now

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")
ZERO = sa.text("0")
STATES = ("training", "paused", "built", "failed")


def upgrade() -> None:
    op.create_table(
        "training_run",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("curriculum", sa.String(64), nullable=False),
        sa.Column("curriculum_digest", sa.String(64), nullable=False),
        sa.Column("data_digest", sa.String(64), nullable=False),
        sa.Column("code_version", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(*STATES, name="state", native_enum=False, create_constraint=True, length=24),
            server_default="training",
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), server_default=EMPTY, nullable=False),
        sa.Column("weights", sa.String(64), server_default=EMPTY, nullable=False),
        sa.Column("weights_digest", sa.String(64), server_default=EMPTY, nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=True),
        sa.Column("begun_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.owner_id"], name=op.f("fk_training_run_owner_id_owner")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_training_run")),
    )
    op.create_index(op.f("ix_training_run_begun_at"), "training_run", ["begun_at"])
    op.create_index(op.f("ix_training_run_weights_digest"), "training_run", ["weights_digest"])
    _of_a_run(
        "training_part",
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("left_out", sa.Integer(), server_default=ZERO, nullable=False),
        key=(),
    )
    _of_a_run(
        "training_figure",
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        key=("step", "name"),
    )
    _of_a_run(
        "training_left_out",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        key=("number",),
    )


def _of_a_run(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    """A table whose rows belong to a part of a run."""
    op.create_table(
        name,
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("part", sa.String(32), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["run_id"], ["training_run.run_id"], name=op.f(f"fk_{name}_run_id_training_run")),
        sa.PrimaryKeyConstraint("run_id", "part", *key, name=op.f(f"pk_{name}")),
    )


def downgrade() -> None:
    for name in ("training_left_out", "training_figure", "training_part"):
        op.drop_table(name)
    op.drop_index(op.f("ix_training_run_weights_digest"), table_name="training_run")
    op.drop_index(op.f("ix_training_run_begun_at"), table_name="training_run")
    op.drop_table("training_run")
