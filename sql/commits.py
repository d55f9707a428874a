"""Ending a transaction so that its fate is known, also when the server dies in that very moment.

A commit whose answer is lost may or may not have happened. PostgreSQL remembers by the transaction's number.
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

PAUSE_SECONDS = 0.5

_NUMBER = sa.text("SELECT pg_current_xact_id_if_assigned()::text")
_STATUS = sa.text("SELECT pg_xact_status(CAST(:number AS xid8))")


def commit(session: Session, engine: Engine, patience: float) -> None:
    """Commit; a lost connection counts as failed only if the server says so, or does not answer for `patience`."""
    session.flush()
    number = session.scalar(_NUMBER) if engine.dialect.name == "postgresql" else None
    try:
        session.commit()
    except exc.DBAPIError as error:
        if number is None or not error.connection_invalidated or not _committed(engine, number, patience):
            raise


def _committed(engine: Engine, number: str, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            with engine.connect() as connection:
                status = str(connection.scalar(_STATUS, {"number": number}))
        except exc.OperationalError:
            status = "unreachable"
        except exc.DataError:
            status = "aborted"  # "in the future": the crash lost even that the number had been given out
        if status in ("committed", "aborted") or time.monotonic() > deadline:
            return status == "committed"
        time.sleep(PAUSE_SECONDS)
