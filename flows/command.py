"""What all commands share: the settings of this folder, errors as one sentence, JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from edits import wire
from edits.errors import SamaflowError
from edits.settings import Settings, load_settings

FAILED = 1
UNUSABLE = 2

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def settings_here(**overrides: object) -> Settings:
    """The settings of the current folder, with what the call gave."""
    return load_settings(
        Path.cwd(), os.environ, {name: value for name, value in overrides.items() if value is not None}
    )


@contextmanager
def problems() -> Iterator[None]:
    """Errors on purpose become one sentence on standard error and exit code 2; Ctrl-C becomes 130."""
    try:
        yield
    except SamaflowError as error:
        typer.echo(f"samaflow: {error}", err=True)
        raise typer.Exit(UNUSABLE) from error
    except OSError as error:
        typer.echo(f"samaflow: {error.filename or 'this machine'}: {error.strerror or error}", err=True)
        raise typer.Exit(UNUSABLE) from error
    except KeyboardInterrupt as error:
        typer.echo("samaflow: cancelled; what is edited is kept, the same command goes on from there", err=True)
        raise typer.Exit(130) from error


def print_record(record: object) -> None:
    sys.stdout.write(wire.dump(record, indent=2).decode() + "\n")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
