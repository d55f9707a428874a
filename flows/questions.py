"""The commands that ask the database: what made a file and what came of one, usage, failures, times, what is stuck."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Literal

import typer

import sql
from edits.errors import PermanentError
from flows import answers
from flows.command import AsJson, asked_database, print_json, print_record, problems, settings_here

commands = typer.Typer()

Since = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this UTC day on.")]
Until = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="To this UTC day, included.")]


def open_here() -> sql.Database:
    return asked_database(settings_here())


@commands.command()
def lineage(
    what: Annotated[
        str | None, typer.Argument(metavar="FILE|JOB", help="A deliverable (or a copy of one) or a job id.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Rather all that was made from this file, URI or sha256.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Rather all that this editor, editor/weights or weights digest touched.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file was made from (source, weights, seed, code), or what came of a source or a model."""
    with problems():
        if sum(given is not None for given in (what, source, model)) != 1:
            raise PermanentError("give one of FILE, JOB, --source and --model: `samaflow lineage --help`")
        db = open_here()
        if what is not None:
            found = answers.find(db, what)
            print_json(found.as_dict()) if as_json else answers.show_lineage(found)
        elif source is not None:
            files = sql.made_from(db, answers.digest_of_source(db, source))
            print_record(files) if as_json else answers.show_files(files)
        elif model is not None:
            recall = sql.touched_by(db, model)
            print_record(recall) if as_json else answers.show_recall(recall)


@commands.command()
def export(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE|JOB]...", help="Deliverables or jobs; without any, all.")
    ] = None,
    form: Annotated[
        Literal["openlineage", "csv"], typer.Option("--format", help="OpenLineage JSON lines, or a line a chunk.")
    ] = "openlineage",
) -> None:
    """Write lineage for other programs to standard output. Instructions only if `disclose` is full."""
    with problems():
        from edits import openlineage  # here: it loads the client's library

        settings = settings_here()
        db, disclose = asked_database(settings), settings.disclose == "full"
        lineages = answers.lineages(db, what or [])
        if form == "csv":
            sys.stdout.writelines(openlineage.to_csv(lineages, disclose))
            return
        for found in lineages:
            flow_run = found.origin.flow_run_id if found.origin is not None else ""
            event = openlineage.completed(found, flow_run, disclose, when=found.recorded_at)
            sys.stdout.write(openlineage.to_json(event) + "\n")


@commands.command()
def usage(
    by: Annotated[str, typer.Option(help="Groups, with commas: day, project, editor.")] = "project,editor",
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Sum up GPU-hours and what they cost, by day, project or editor."""
    with problems():
        groups = [word.strip() for word in by.split(",") if word.strip()]
        days = (since.date() if since else None, until.date() if until else None)
        lines = sql.usage(open_here(), groups, *days)
        print_record(lines) if as_json else answers.show_usage(lines, groups)


@commands.command()
def failures(since: Since = None, as_json: AsJson = False) -> None:
    """Count why jobs failed and why workers ended badly."""
    with problems():
        causes = sql.failures(open_here(), since.date() if since else None)
        print_record(causes) if as_json else answers.show_failures(causes)


@commands.command()
def times(
    since: Since = None,
    project: Annotated[str | None, typer.Option(help="Jobs of this project only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how long jobs wait, and where time goes."""
    with problems():
        lines = sql.times(open_here(), since.date() if since else None, project)
        print_record(lines) if as_json else answers.show_times(lines)


@commands.command()
def stuck(
    idle: Annotated[float, typer.Option(min=0, help="Hours without any event that are too many.")] = 6.0,
    as_json: AsJson = False,
) -> None:
    """Show jobs and dispatches that do not get on, and why."""
    with problems():
        found = sql.stuck(open_here(), idle * 3600)
        print_record(found) if as_json else answers.show_stuck(found)
