"""The commands that keep a library over the years: prune, recover, reproduce, verify."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

import sql
from edits.errors import PermanentError
from edits.storage import Store
from edits.wording import counted
from flows import answers
from flows.command import FAILED, AsJson, asked_database, database_of, print_record, problems, settings_here
from flows.prefect_here import prefect_for
from flows.results import out
from flows.units import size
from tasks import prune as pruning

if TYPE_CHECKING:
    from edits.provenance import Credentials
    from tasks.recover import Recovery

commands = typer.Typer()


@commands.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it this only says what would be.")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days; `store.keep_days` by default.")
    ] = None,
    delivered: Annotated[
        bool, typer.Option("--delivered", help="Also chunks of deliverables; those need editing to be made again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove edited chunks that nothing needs; never those of a job that has not ended."""
    with problems():
        settings = settings_here()
        days = settings.keep_days if older_than is None else older_than
        policy = sql.Policy(timedelta(days=days), delivered)
        db = database_of(settings)
        found = pruning.forecast(db, policy)
        if yes:
            found = pruning.prune(db, Store(settings.store, endpoint_url=settings.endpoint_url), policy, found.chunks)
        print_record(found) if as_json else show_pruning(found, days)


def show_pruning(found: pruning.Pruning, days: float) -> None:
    """Print what went, or would go."""
    table = Table("chunk", "edited (UTC)", "size", box=None, pad_edge=False)
    for chunk in found.chunks[: answers.SHOWN]:
        table.add_row(chunk.chunk_key, f"{chunk.done_at:%Y-%m-%d %H:%M}", size(chunk.size))
    if found.chunks:
        out.print(table)
    count = f"{counted(len(found.chunks), 'chunk')}, {size(found.bytes)}"
    if found.removed:
        out.print(f"removed {count}, and the inputs of {len(found.inputs)}")
    else:
        out.print(f"{count} would be removed (untouched for {days:g} days); nothing was. --yes removes them")


@commands.command()
def recover(as_json: AsJson = False) -> None:
    """Rebuild the database's rows from the store; rows that are there stay as they are."""
    with problems():
        from tasks.recover import Recoverer

        settings = settings_here()
        store = Store(settings.store, endpoint_url=settings.endpoint_url)
        found = Recoverer(database_of(settings), store, settings.endpoint_url).run()
        print_record(found) if as_json else show_recovery(found)


def show_recovery(found: Recovery) -> None:
    """Print what the store held."""
    for problem in found.unreadable[: answers.SHOWN]:
        out.print(f"[yellow]left out[/] {escape(problem)}", soft_wrap=True)
    out.print(
        f"recorded: {counted(found.jobs, 'job')}, {counted(found.chunks_done, 'edited chunk')}, "
        f"{counted(found.deliverables, 'deliverable')}, {counted(found.attempts, 'attempt')}; "
        f"dispatches: {found.dispatches}"
    )
    out.print(f"not in the store, and unknown where the database was lost: {'; '.join(found.not_in_store)}")


@commands.command()
def reproduce(
    what: Annotated[str, typer.Argument(metavar="FILE|JOB", help="A deliverable (or a copy of one) or a job id.")],
    allow: Annotated[list[str] | None, typer.Option(help="The source's folder, if it is not allowed yet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a deliverable again from its record and say whether it is identical, and if not, what differs."""
    with problems(), prefect_for(settings_here()):
        from flows.reproduce import reproduce as make_again
        from tasks.conclude import SomeJobsFailedError

        settings = settings_here()
        lineage = answers.find(asked_database(settings), what)
        try:
            found = make_again(settings, lineage, allow or [])
        except SomeJobsFailedError as error:
            raise PermanentError(f"cannot be made again now: {error}") from error
        print_record(found) if as_json else answers.show_reproduction(found)
    if not found.identical:
        raise typer.Exit(FAILED)


@commands.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A deliverable, with its .credentials.json beside it if it has one.")],
    as_json: AsJson = False,
) -> None:
    """Read a file's content credentials back, and say whether they are still true of it."""
    with problems():
        if not file.is_file():
            raise PermanentError(f"{file}: no such file")
        from edits import provenance  # here: it loads the signing library

        found = provenance.read(file)
        print_record(found) if as_json else show_credentials(found)
    if found.state != "valid":
        raise typer.Exit(FAILED)


def show_credentials(found: Credentials) -> None:
    """Print the verdict, then what is said."""
    colour = {"valid": "green", "invalid": "red", "none": "yellow"}[found.state]
    trust = (
        ""
        if found.state == "none"
        else " by a trusted certificate"
        if found.trusted
        else "; signer not on a trust list"
    )
    out.print(f"[{colour}]{found.state}[/]{trust}", soft_wrap=True)
    for problem in found.problems:
        out.print(escape(problem), soft_wrap=True)
    facts = {"signer": found.signer, "where": found.where, **(asdict(found.claim) if found.claim else {})}
    for name, value in facts.items():
        if value:
            out.print(f"{name.replace('_', ' '):>20}  {escape(value)}", soft_wrap=True, highlight=False)
