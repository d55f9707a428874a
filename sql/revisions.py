"""Which revision a database is at, and bringing it to the code's. Needs no alembic.ini, wherever it is called."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from edits.errors import DatabaseError
from sql.owners import at_work
from sql.session import BUSY_SECONDS, Database, connect
from sql.translation import MIGRATE

MIGRATIONS = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision that this code needs."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; its commands work on `connection`, in the transaction that is open there."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def revision(database: Database) -> str | None:
    """The database's revision; None when it has no tables of samaflow's."""
    with database.read() as session:
        return _revision(session)


def migrate(database: Database) -> None:
    """Bring an empty or an older database to the code's revision, in one transaction.

    Raises:
        DatabaseError: it is at a revision that this code does not know, or a flow is at work on it.
        BusyError: another process is migrating it or keeps a table locked.
    """
    with database.write() as session:
        found = _revision(session)
        if found not in (None, head()):
            _refuse_while_flows_run(database, session)
        try:
            command.upgrade(config(session.connection()), "head")
        except CommandError as error:
            raise _other_revision(database, _revision(session)) from error


def _refuse_while_flows_run(database: Database, session: Session) -> None:
    for owner in at_work(session):
        raise DatabaseError(
            f"the database {database} is in use by a running flow (process {owner.pid} on {owner.host.split('/')[0]}): "
            f"let it end or stop it, then run `{MIGRATE}` again"
        )


def open_database(url: str, busy_seconds: float = BUSY_SECONDS, patience: float = 0.0) -> Database:
    """Connect to a database that is at the code's revision. A new SQLite file is made and given its tables.

    `busy_seconds` and `patience` are those of `sql.connect`.

    Raises:
        DatabaseError: a URL that cannot be used, another revision (it is never migrated here), a file that is no
            database or cannot be written.
        BusyError: locked or unreachable.
    """
    database = connect(url, busy_seconds, patience)
    try:
        _ready(database)
    except BaseException:
        database.close()
        raise
    return database


def _ready(database: Database) -> None:
    found = revision(database)
    if found is None and database.url.get_backend_name() == "sqlite":
        found = _create(database)
    if found != head():
        raise _other_revision(database, found)


def _create(database: Database) -> str | None:
    # Another process may be doing the same: who gets the lock second finds the tables there.
    with database.write() as session:
        if not sa.inspect(session.connection()).get_table_names():
            command.upgrade(config(session.connection()), "head")
        return _revision(session)


def _revision(session: Session) -> str | None:
    return MigrationContext.configure(session.connection()).get_current_revision()


def _other_revision(database: Database, found: str | None) -> DatabaseError:
    if found is None:
        return DatabaseError(
            f"the database {database} has no tables of samaflow's: name another one, or run `{MIGRATE}` to make them"
        )
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found in known:
        return DatabaseError(
            f"the database {database} is at revision {found}, this samaflow needs {head()}: "
            f"stop running flows, then run `{MIGRATE}`"
        )
    return DatabaseError(
        f"the database {database} is at revision {found}, which this samaflow does not know: "
        "it is newer, so update samaflow"
    )
