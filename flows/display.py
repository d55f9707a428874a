"""What a person sees of a running flow: bars on a terminal, one line a change elsewhere; and tables of results."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

import sql
from edits.errors import PermanentError
from edits.job import JobState
from edits.plan import JOINT_FRAMES
from edits.trust import readable
from edits.wording import counted
from flows.results import out
from flows.review_job import ReviewOutcome
from flows.status import STYLES
from flows.units import duration, size
from tasks import review
from tasks.conclude import RowResult, Summary
from tasks.forecast import Forecast
from tasks.library import LibraryResult
from tasks.progress import JobProgress, Snapshot
from tasks.run import LISTENERS, Run, open_run

REFRESH_SECONDS = 0.5
BARS = 12
"""Jobs that are shown at once on a terminal; the others wait or are done."""

WHOLE = 0
"""Stands for the whole run where lines of the manifest are counted."""

err = Console(stderr=True)
"""Progress and problems: standard error, so that `--json` stays clean."""


@contextmanager
def watching() -> Iterator[None]:
    """Show the progress of the run that opens inside the block."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def begin(run: Run) -> None:
        show = _bars if err.is_terminal else _lines
        thread = threading.Thread(target=show, args=(run, over), name="display", daemon=True)
        threads.append(thread)
        thread.start()

    LISTENERS.add(begin)
    try:
        yield
    finally:
        LISTENERS.remove(begin)
        over.set()
        for thread in threads:
            thread.join()


def _bars(run: Run, over: threading.Event) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        whole = progress.add_task("all rows", total=1.0, what="")
        bars: dict[int, TaskID] = {}
        while not over.wait(REFRESH_SECONDS):
            snapshot = run.board.snapshot()
            progress.update(whole, completed=snapshot.fraction, what=escape(snapshot.message) or time_left(snapshot))
            _show_jobs(progress, bars, snapshot.jobs)


def _show_jobs(progress: Progress, bars: dict[int, TaskID], jobs: Iterable[JobProgress]) -> None:
    active = [job for job in jobs if not job.ended and job.stage != "waiting"][:BARS]
    for line in set(bars) - {job.line for job in active}:
        progress.remove_task(bars.pop(line))
    for job in active:
        if job.line not in bars:
            bars[job.line] = progress.add_task(escape(f"  line {job.line}  {job.name}"), total=1.0, what="")
        count = f" {job.done}/{job.total}" if job.total else ""
        what = f"{job.stage}{count}" + (f": {escape(job.message)}" if job.message else "")
        progress.update(bars[job.line], completed=job.fraction, what=what)


def _lines(run: Run, over: threading.Event) -> None:
    said: dict[int, str] = {}
    last = False
    while not last:
        last = over.wait(REFRESH_SECONDS)
        snapshot = run.board.snapshot()
        now = {job.line: _line(job) for job in snapshot.jobs} | {WHOLE: snapshot.message}
        for line, text in now.items():
            if text and text != said.get(line):
                sys.stderr.write(f"[{snapshot.elapsed:7.1f} s] {text}\n")
                sys.stderr.flush()
        said = now


def _line(job: JobProgress) -> str:
    doing = job.state if job.ended else job.stage
    return f"line {job.line}  {job.name}  {doing}" + (f": {job.message}" if job.message else "")


def time_left(snapshot: Snapshot) -> str:
    left = snapshot.seconds_left
    return f"{snapshot.fraction:.0%}" if left is None else f"{snapshot.fraction:.0%}, about {duration(left)} left"


def print_summary(summary: Summary) -> None:
    """The rows of a run, then where the report lies."""
    table = Table("line", "state", "frames", "chunks", "edited now", box=None, pad_edge=False)
    table.add_column("deliverable or reason", overflow="fold")
    for row in summary.rows:
        table.add_row(
            str(row.line),
            f"[{STYLES.get(JobState(row.state), 'default')}]{row.state}[/]",
            str(row.frames),
            str(row.chunks),
            str(row.chunks_edited),
            escape(_result_text(row)),
        )
    out.print(table)
    took = duration(summary.seconds)
    out.print(f"{_outcome(summary)}, {counted(summary.chunks_edited, 'chunk')} edited, {took}")
    out.print(f"report: {escape(summary.report)}", soft_wrap=True)
    out.print(f"review: {escape(readable(summary.review))}", soft_wrap=True)


def _outcome(summary: Summary) -> str:
    """`3 of 5 delivered, 1 awaiting review, 1 left for later`"""
    states = Counter(row.state for row in summary.rows)
    parts = [f"{states[JobState.DELIVERED]} of {len(summary.rows)} delivered"]
    for state, name in ((JobState.AWAITING_REVIEW, "awaiting review"), (JobState.PLANNED, "left for later")):
        if states[state]:
            parts.append(f"{states[state]} {name}")
    return ", ".join(parts)


def print_outcome(outcome: ReviewOutcome) -> None:
    """What came of a decision."""
    if outcome.summary is not None:
        print_summary(outcome.summary)
    if outcome.delivered:
        out.print(f"job {outcome.job_id}: delivered as {escape(readable(outcome.output))}", soft_wrap=True)
    elif outcome.decision == "reject":
        out.print(f"job {outcome.job_id}: rejected; nothing is delivered")


def print_page(job_id: str) -> None:
    """Write a job's review page anew and print where it is.

    Raises:
        PermanentError: no such job, or it has no review copy.
    """
    with open_run([]) as run:
        job = sql.job(run.db, job_id).job
        path = review.write_page(run, job.job_id)
        if not path:
            raise PermanentError(f"job {job.job_id} has no review copy yet: it is made when the job is finished")
        out.print(escape(readable(review.address(run, path))), soft_wrap=True)


def print_library(result: LibraryResult) -> None:
    """What a run over a library did, and what it passed over and why."""
    table = Table("verdict", "state", box=None, pad_edge=False)
    table.add_column("file and result or reason", overflow="fold")
    for file in result.files:
        state = f"[{STYLES.get(JobState(file.state), 'default')}]{file.state}[/]" if file.state else ""
        delivered = file.state == JobState.DELIVERED
        what = f"-> {readable(file.output)}" if delivered else file.message or file.why
        table.add_row(file.verdict, state, escape(f"{readable(file.uri)}  {what}"))
    if result.files:
        out.print(table)
    for folder in result.unreadable:
        out.print(f"[yellow]not looked into:[/] {escape(folder)}", soft_wrap=True)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in result.counts.items()) or "nothing to do"
    out.print(
        f"{counted(result.seen, 'file')} seen in {duration(result.scan_seconds)}, {result.matched} match: {counts}"
    )
    if result.summary is not None:
        out.print(f"{_outcome(result.summary)}, {duration(result.summary.seconds)}")
        out.print(f"report: {escape(result.summary.report)}", soft_wrap=True)


def _result_text(row: RowResult) -> str:
    if row.state != JobState.DELIVERED:
        return row.message
    return readable(row.output) + (" (delivered already)" if row.message == "delivered already" else "")


def print_forecast(forecast: Forecast) -> None:
    """The rows of a plan and their sum."""
    table = Table("line", "frames", "shots", "chunks", "to edit", "editing", "store", box=None, pad_edge=False)
    table.add_column("source or reason", overflow="fold")
    for row in forecast.rows:
        if row.estimate is None:
            table.add_row(str(row.line), "-", "-", "-", "-", "-", "-", f"[red]{escape(row.error)}[/]")
            continue
        cells = (row.estimate.frames, row.shots, row.estimate.chunks, row.chunks_missing)
        cost = (duration(row.estimate.seconds), size(row.estimate.store_bytes))
        table.add_row(str(row.line), *map(str, cells), *cost, escape(readable(row.source)))
    out.print(table)
    whole = forecast.whole
    out.print(
        f"{counted(whole.frames, 'frame')} in {counted(whole.chunks, 'chunk')}; about "
        f"{duration(forecast.seconds_to_go)} of editing left on one device, "
        f"{size(whole.scratch_bytes)} scratch, {size(whole.store_bytes)} in the store"
    )
    for line, warning in ((row.line, warning) for row in forecast.rows for warning in row.warnings):
        out.print(f"[yellow]line {line}:[/] {escape(warning)}", soft_wrap=True)
    if forecast.cost:
        out.print(f"about {forecast.cost:.2f} {forecast.currency}")
    for weights, peaks in {row.weights: row.device_bytes for row in forecast.rows if row.device_bytes}.items():
        needs = ", ".join(f"{profile} {size(peak)}" for profile, peak in peaks.items())
        out.print(f"device memory that '{weights}' is predicted to need at most: {needs}")
    if longest := max((row.joint_frames for row in forecast.rows), default=0):
        out.print(f"longest shot that is edited as one: {longest:,} frames; the limit is {JOINT_FRAMES:,}")
    if not forecast.exact:
        out.print(
            "from headers only: frame counts may be wrong and cuts are unknown; leave --quick out for the exact plan"
        )
    if refused := sum(bool(row.error) for row in forecast.rows):
        out.print(f"[red]{refused} of {len(forecast.rows)} rows cannot run[/]")
