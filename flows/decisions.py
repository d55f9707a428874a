"""The commands of a reviewer: approve, reject, change, and where a job's review page is."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flows.command import FAILED, AsJson, print_record, problems, settings_here
from flows.forms import DecisionName
from flows.options import Allow, Store, Workers
from flows.prefect_here import prefect_for

commands = typer.Typer()

Job = Annotated[str, typer.Argument(help="Job id, or the beginning of one.")]
Reviewer = Annotated[str | None, typer.Option("--by", help="Who decides; recorded. Default: your login name.")]
Reason = Annotated[str, typer.Option(help="Why; recorded.")]


@commands.command()
def approve(
    job: Job,
    by: Reviewer = None,
    reason: Reason = "",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Approve a job that awaits its review: deliver what is finished, or go on after a preview."""
    _decide("approve", job, by, reason, {}, as_json=as_json, store=store, workers=workers, allow=allow)


@commands.command()
def reject(
    job: Job,
    reason: Annotated[str, typer.Option(help="Why; recorded, for whoever does it again.")],
    by: Reviewer = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Reject a job that awaits its review: nothing is delivered, what is edited is kept."""
    _decide("reject", job, by, reason, {}, as_json=as_json, store=store, workers=None, allow=None)


@commands.command()
def change(
    job: Job,
    instruction: Annotated[str, typer.Option(help="Another instruction.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Another seed.")] = 0,
    guidance: Annotated[float, typer.Option(min=0, help="Another strength.")] = 0.0,
    by: Reviewer = None,
    reason: Reason = "",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Put another job in the place of one that awaits its review, and run it: it awaits its review in turn."""
    changes = {"instruction": instruction, "seed": seed, "guidance": guidance}
    _decide("change", job, by, reason, changes, as_json=as_json, store=store, workers=workers, allow=allow)


def _decide(
    decision: DecisionName,
    job: str,
    by: str | None,
    reason: str,
    changes: Mapping[str, Any],
    *,
    as_json: bool,
    store: str | None,
    workers: int | None,
    allow: list[str] | None,
) -> None:
    with problems(), prefect_for(settings_here(store=store)):
        from flows import display
        from flows.review_job import review_job
        from tasks.conclude import SomeJobsFailedError

        reviewer = by or getpass.getuser()
        with display.watching():
            try:
                outcome = review_job(
                    job, reviewer, decision, reason, store=store, workers=workers, allow=allow, **changes
                )
            except SomeJobsFailedError as error:
                display.print_summary(error.summary)
                raise typer.Exit(FAILED) from error
        print_record(outcome) if as_json else display.print_outcome(outcome)


@commands.command()
def review(what: Annotated[str, typer.Argument(metavar="JOB", help="Job id, or the beginning of one.")]) -> None:
    """Write the review page of a job anew, and say where it is."""
    with problems():
        from flows import display

        display.print_page(what)
