"""SQLAlchemy's and the drivers' errors, translated into the tree of `edits.errors` at one place.

Messages name the database without its password and never repeat a statement's values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc
from sqlalchemy.engine import URL

from edits.errors import BusyError, DatabaseError, SamaflowError

MIGRATE = "samaflow doctor --migrate"
"""The command that brings a database to the code's revision."""

_FULL = "cannot grow, the disk is full: free some space, then run the same command again"

_SQLITE: dict[str, tuple[type[SamaflowError], str]] = {
    "SQLITE_BUSY": (BusyError, "is locked by another process: try again when that is done"),
    "SQLITE_LOCKED": (BusyError, "is locked within this process: try again"),
    "SQLITE_FULL": (DatabaseError, _FULL),
    "SQLITE_IOERR_SHMSIZE": (DatabaseError, _FULL),
    "SQLITE_READONLY": (DatabaseError, "cannot be written: make the file and its folder writable for this user"),
    "SQLITE_CANTOPEN": (DatabaseError, "cannot be opened: the folder must exist and be writable for this user"),
    "SQLITE_PERM": (DatabaseError, "may not be opened by this user: change the file's rights"),
    "SQLITE_NOTADB": (DatabaseError, "is not an SQLite file: name another file, or move this one away"),
    "SQLITE_CORRUPT": (DatabaseError, "is damaged: restore a backup, or move it away to begin a new one"),
    "SQLITE_IOERR": (BusyError, "could not be read or written (an error of the disk): try again"),
}
"""By SQLite's primary result code; extended codes begin with it."""

_POSTGRESQL: dict[str, tuple[type[SamaflowError], str]] = {
    "55P03": (BusyError, "did not grant a lock in time: try again"),
    "40": (BusyError, "rolled the transaction back in favour of another: try again"),
    "57014": (BusyError, "stopped a statement that took too long: try again"),
    "57P": (BusyError, "is shutting down or starting: try again"),
    "08": (BusyError, "cannot be reached: try again"),
    "53100": (DatabaseError, "cannot grow, its disk is full: free some space, then run the same command again"),
    "53": (BusyError, "is short of connections or memory: try again"),
    "28": (DatabaseError, "refuses this user or password: correct the database's URL in the settings"),
    "3D": (DatabaseError, "does not exist on that server: create it, or correct the URL in the settings"),
    "42501": (DatabaseError, "does not allow this user to do that: grant the rights on samaflow's tables"),
    "25006": (DatabaseError, "is read-only: connect to the primary server"),
}
"""By SQLSTATE, the longest prefix first."""

_REFUSALS = (
    (r"password authentication failed|no password supplied|no pg_hba.conf entry|role \".*\" does not exist", "28"),
    (r"database \".*\" does not exist", "3D"),
)
"""psycopg gives no SQLSTATE while it connects: what the server says, to one."""

_OTHER_REVISION = ("no such table", "no such column", "has no column named", "undefinedtable", "undefinedcolumn")


def shown(url: URL) -> str:
    """The address without password and query (which may hold one)."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Run a block that talks to the database at `url`.

    Raises:
        BusyError: locked, unreachable, or a transaction that lost against another.
        DatabaseError: everything that the same call would meet again.
    """
    try:
        yield
    except exc.StatementError as error:
        kind, problem = _found(error)
        raise kind(f"the database {shown(url)} {problem}") from error
    except exc.TimeoutError as error:
        raise BusyError(f"the database {shown(url)}: all connections of this process are in use: try again") from error


def _found(error: exc.StatementError) -> tuple[type[SamaflowError], str]:
    cause = error.orig
    table = _SQLITE | _POSTGRESQL
    code = str(getattr(cause, "sqlite_errorname", "") or getattr(cause, "sqlstate", "") or _refusal(cause))
    for prefix in sorted(table, key=len, reverse=True):
        if code.startswith(prefix):
            return table[prefix]
    if isinstance(error, exc.IntegrityError):
        return DatabaseError, f"refuses a row that contradicts others ({cause}): record what it refers to first"
    said = f"{type(cause).__name__}: {cause}".lower()
    if any(phrase in said for phrase in _OTHER_REVISION):
        return DatabaseError, f"has other tables than this samaflow ({_first_line(cause)}): run `{MIGRATE}`"
    if isinstance(error, exc.OperationalError) and (error.connection_invalidated or not code):
        return BusyError, f"cannot be reached ({_first_line(cause)}): see that it runs, then try again"
    return DatabaseError, f"failed: {_first_line(cause)}"


def _refusal(cause: BaseException | None) -> str:
    return next((code for phrase, code in _REFUSALS if re.search(phrase, str(cause))), "")


def _first_line(cause: BaseException | None) -> str:
    return str(cause).strip().split("\n", 1)[0]
