"""Alembic runs this for each of its commands. `sql.revisions` opens the connection and the transaction."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from sql import models
from sql.migrations.lock import LOCK


def run() -> None:
    connection = context.config.attributes["connection"]
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        # A migration that waits for a table lock holds up every flow behind it: give up soon instead.
        connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(sa.text("SET LOCAL statement_timeout = '10min'"))
    # Batches: SQLite changes a table by copying it.
    context.configure(connection=connection, target_metadata=models.METADATA, render_as_batch=True)
    context.run_migrations()


run()
