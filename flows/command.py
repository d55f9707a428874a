"""What all commands share: the settings of this folder, errors as one sentence, JSON on standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

import sql
from edits import wire
from edits.errors import PermanentError, SamaflowError
from edits.settings import Settings, load_settings, own_database, redacted
from edits.storage import Store

FAILED = 1
UNUSABLE = 2
CANCELLED = 130

_json_asked: ContextVar[bool] = ContextVar("json_asked", default=False)
"""Whether this call is to print JSON: an error must know it too."""

_at_end: ContextVar[ExitStack] = ContextVar("at_end")
"""What is closed when this call ends."""


def _note_json(asked: bool) -> bool:
    _json_asked.set(asked)
    return asked


AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.", callback=_note_json)
]


def settings_here(**overrides: object) -> Settings:
    """The settings of the current folder, with what the call gave."""
    return load_settings(
        Path.cwd(), os.environ, {name: value for name, value in overrides.items() if value is not None}
    )


def database_of(settings: Settings) -> sql.Database:
    """The database that the settings name; it is closed where `problems` ends."""
    db = sql.open_database(settings.database)
    _at_end.get().callback(db.close)
    return db


def asked_database(settings: Settings) -> sql.Database:
    """As `database_of`, for a question. Where nothing was recorded yet an empty one answers; where the address may be
    wrong, or the file lost, an answer of "not made here" would be false.

    Raises:
        PermanentError: no such file.
    """
    if not sql.is_there(settings.database):
        named = settings.database != own_database(settings.state_folder)
        if named or Store(settings.store, endpoint_url=settings.endpoint_url).list("jobs"):
            raise PermanentError(
                f"{redacted(settings.database)}: no such database. A run makes it; if it was lost, `samaflow recover` "
                "rebuilds it from the store"
            )
    return database_of(settings)


@contextmanager
def problems() -> Iterator[None]:
    """Errors on purpose become one sentence on standard error and exit code 2; Ctrl-C becomes 130.

    With `--json` the document on standard output is the error.
    """
    try:
        with ExitStack() as at_end:
            _at_end.set(at_end)
            yield
            sys.stdout.flush()
    except SamaflowError as error:
        raise _ending(UNUSABLE, error.category, str(error)) from error
    except BrokenPipeError as error:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + signal.SIGPIPE) from error
    except OSError as error:
        message = f"{error.filename or 'this machine'}: {error.strerror or error}"
        raise _ending(UNUSABLE, SamaflowError.category, message) from error
    except KeyboardInterrupt as error:
        message = "cancelled; what is edited is kept, the same command goes on from there"
        raise _ending(CANCELLED, "cancelled", message) from error


def _ending(code: int, category: str, message: str) -> typer.Exit:
    """Say why the command ends, to people and, if it was asked with `--json`, to programs."""
    typer.echo(f"samaflow: {message}", err=True)
    if _json_asked.get():
        print_json({"error": {"category": category, "message": message}})
    return typer.Exit(code)


def end_on_sigterm() -> None:
    """SIGTERM ends a run and says so: unlike Ctrl-C it cancels nothing, the next run takes the work over.

    Inside a flow Prefect hears it first: the flow starts nothing more, ends what it is splitting or stitching, and then
    the signal comes here.
    """

    def end(*_: object) -> None:
        os.write(2, b"samaflow: stopped by SIGTERM; what is edited is kept, the same command goes on from there\n")
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


def print_record(record: object) -> None:
    sys.stdout.write(wire.dump(record, indent=2).decode() + "\n")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
