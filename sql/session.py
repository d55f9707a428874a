"""The connection: a `Database` with its read and write transactions, and what SQLite and PostgreSQL must be told.

A write transaction on SQLite begins with BEGIN IMMEDIATE: one that reads first and writes later would otherwise fail
as soon as another process wrote in between, without waiting. One on PostgreSQL that loses its connection while it
commits asks the server afterwards whether it was committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from edits.errors import BusyError, DatabaseError
from sql.commits import commit
from sql.translation import shown, translated

BUSY_SECONDS = 45.0
"""How long a statement waits for another process's lock."""

STATEMENT_SECONDS = 120
"""PostgreSQL: a statement that takes longer is stopped."""

IDLE_SECONDS = 300
"""PostgreSQL: a transaction that its process has forgotten for this long is rolled back, and its locks with it."""

POOL_SIZE = 10
"""Connections that one process keeps; a flow has fewer threads than that."""

DRIVER = "postgresql+psycopg"
"""How a PostgreSQL URL begins."""


@dataclass(frozen=True)
class Database:
    """An open database. Threads may share it; processes open their own."""

    url: URL
    engine: Engine
    patience: float = 0.0
    """Seconds for which `sql`'s functions go on trying while the database is locked or cannot be reached."""

    def __str__(self) -> str:
        return shown(self.url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and changes nothing."""
        with translated(self.url), Session(self.engine.execution_options(**self._snapshot)) as session:
            yield session

    @property
    def _snapshot(self) -> dict[str, Any]:
        """SQLite's transactions see one state anyway."""
        if self.url.get_backend_name() == "sqlite":
            return {}
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the block's end, or not at all when the block raises."""
        engine = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        with translated(self.url), Session(engine, expire_on_commit=False) as session:
            yield session
            commit(session, self.engine, self.patience)

    def close(self) -> None:
        """Close the pooled connections; SQLite then folds its WAL file back."""
        self.engine.dispose()


def connect(url: str, busy_seconds: float = BUSY_SECONDS, patience: float = 0.0) -> Database:
    """Connect without looking at the tables. A new SQLite file is made (empty), its folder as well.

    `busy_seconds` is how long one statement waits for a lock, `patience` how long a function tries again.

    Raises:
        DatabaseError: the URL cannot be read, or is of a database that is not supported, or its driver is missing.
        BusyError: the server cannot be reached.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed, busy_seconds, patience)
    return _connect_postgresql(parsed, busy_seconds, patience)


def is_there(url: str) -> bool:
    """Whether there is something to connect to: an SQLite file. Of a server, only connecting can tell: True.

    Raises:
        DatabaseError: as `connect`.
    """
    parsed = _parsed(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).exists()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # Not `from`: the original may repeat the text, and the text may hold a password.
        raise DatabaseError(
            "the database's URL cannot be read: write sqlite:////absolute/path/samaflow.db "
            "or postgresql+psycopg://user:password@host/name"
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseError(f"the database {shown(parsed)} is not supported: use a sqlite or a postgresql URL")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise DatabaseError("the database's URL names no file: write sqlite:////absolute/path/samaflow.db")
    return parsed


def _engine(url: URL, **arguments: Any) -> Engine:
    try:
        return sa.create_engine(url, **arguments)
    except (ImportError, exc.NoSuchModuleError) as error:
        raise DatabaseError(
            f"the driver '{url.get_driver_name()}' of the database {shown(url)} is not installed: "
            "`pip install psycopg[binary]` and begin the URL with postgresql+psycopg://"
        ) from error


# -- SQLite -----------------------------------------------------------------------------------------------------------


def _connect_sqlite(url: URL, busy_seconds: float, patience: float) -> Database:
    folder = Path(str(url.database).removeprefix("file:")).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"the database's folder {folder} cannot be made: {error.strerror}") from error
    engine = _engine(url, connect_args={"timeout": busy_seconds})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    database = Database(url, engine, patience)
    _use_wal(database, busy_seconds)
    return database


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # None: the driver begins no transactions of its own, `_begin_sqlite` does.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("begin", "BEGIN")
    if begin is not None:
        connection.exec_driver_sql(begin)


def _use_wal(database: Database, busy_seconds: float) -> None:
    """Readers never wait in WAL mode. Kept in the file; the change itself does not wait for locks, so we do."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            with translated(database.url):
                _set_wal(database)
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _set_wal(database: Database) -> None:
    # No BEGIN: the mode cannot be changed within a transaction.
    with database.engine.execution_options(begin=None).connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        if mode != "wal":
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


def _connect_postgresql(url: URL, busy_seconds: float, patience: float) -> Database:
    if url.drivername != DRIVER:
        raise DatabaseError(f"the database {shown(url)}: begin its URL with {DRIVER}://, the driver that is tested")
    arguments = {"options": _options(url, busy_seconds), "connect_timeout": 10, "application_name": "samaflow"}
    # A ping before each use: the server may have been started anew since the connection was.
    engine = _engine(
        url, pool_pre_ping=True, pool_size=POOL_SIZE, pool_timeout=max(busy_seconds, 1.0), connect_args=arguments
    )
    return Database(url, engine, patience)


def _options(url: URL, busy_seconds: float) -> str:
    """What each connection is told; the URL's own options come first, so that these hold."""
    limits = {
        "lock_timeout": int(busy_seconds * 1000),
        "statement_timeout": STATEMENT_SECONDS * 1000,
        "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
        "TimeZone": "UTC",
    }
    given = url.query.get("options", ())
    words = [given] if isinstance(given, str) else list(given)
    return " ".join([*words, *(f"-c {name}={value}" for name, value in limits.items())])
