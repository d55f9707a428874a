"""Which revision a database is at, and bringing it to the code's. Needs no alembic.ini, wherever it is called.

Alembic is imported where something is migrated: with what it brings along it is a seventh of a command's start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from edits.errors import DatabaseError
from sql.owners import at_work
from sql.session import BUSY_SECONDS, Database, connect
from sql.translation import MIGRATE

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision that this code needs."""
    return max(_known())


def _known() -> set[str]:
    """Revisions are numbered, and their files begin with the number."""
    return {path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py")}


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; its commands work on `connection`, in the transaction that is open there."""
    from alembic.config import Config

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
        if found is not None and found not in _known():
            raise _other_revision(database, found)
        _upgrade(session)


def _upgrade(session: Session) -> None:
    from alembic import command

    command.upgrade(config(session.connection()), "head")


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
            _upgrade(session)
        return _revision(session)


def _revision(session: Session) -> str | None:
    if not sa.inspect(session.connection()).has_table("alembic_version"):
        return None
    found: str | None = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _other_revision(database: Database, found: str | None) -> DatabaseError:
    if found is None:
        return DatabaseError(
            f"the database {database} has no tables of samaflow's: name another one, or run `{MIGRATE}` to make them"
        )
    if found in _known():
        return DatabaseError(
            f"the database {database} is at revision {found}, this samaflow needs {head()}: "
            f"stop running flows, then run `{MIGRATE}`"
        )
    return DatabaseError(
        f"the database {database} is at revision {found}, which this samaflow does not know: "
        "it is newer, so update samaflow"
    )
