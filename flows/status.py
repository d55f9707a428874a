"""Which jobs there are and what happened to one, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.markup import escape
from rich.table import Table

import sql
from edits.job import EditJob, JobState
from edits.trust import readable
from edits.wording import counted
from flows.results import out

STYLES = {JobState.DELIVERED: "green", JobState.CANCELLED: "yellow", JobState.FAILED: "red", JobState.FAILED_QC: "red"}


@dataclass(frozen=True)
class JobLine:
    """One job in `samaflow status`. Part of the `--json` output: fields are added, never renamed."""

    job_id: str
    state: JobState
    editor: str
    source: str
    frames: int
    chunks: int
    chunks_done: int
    updated_at: datetime
    message: str
    output: str
    flow_gone: bool
    """It has not ended, and the flow that worked on it is dead: run its manifest again."""


@dataclass(frozen=True)
class JobList:
    """The newest jobs, and how many there are in each state."""

    counts: dict[str, int]
    jobs: tuple[JobLine, ...]
    rows_refused: int
    """Rows of manifests that never became jobs; `samaflow failures` says why."""


@dataclass(frozen=True)
class EventLine:
    """One entry of a job's history."""

    at: datetime
    state: JobState
    reason: str
    category: str


@dataclass(frozen=True)
class JobHistory:
    """One job with everything that happened to it."""

    job: EditJob
    state: JobState
    events: tuple[EventLine, ...]


def jobs(db: sql.Database, limit: int) -> JobList:
    """The newest `limit` jobs."""
    lines = []
    for status in sql.job_table(db, limit=limit):
        job = status.record.job
        lines.append(
            JobLine(
                job_id=job.job_id,
                state=status.record.state,
                editor=job.editor,
                source=job.source,
                frames=job.end - job.start,
                chunks=status.chunks,
                chunks_done=status.chunks_done,
                updated_at=status.record.updated_at,
                message=status.last_event.reason,
                output=job.output,
                flow_gone=status.flow_gone,
            )
        )
    counts = {str(state): count for state, count in sql.counts(db).items() if count}
    return JobList(counts, tuple(lines), sql.refused_rows(db))


def history(db: sql.Database, job_id: str) -> JobHistory:
    """One job, by its id or the beginning of it.

    Raises:
        PermanentError: no such job, or several.
    """
    record = sql.job(db, job_id)
    events = tuple(EventLine(e.at, e.after, e.reason, e.category) for e in sql.job_events(db, record.job_id))
    return JobHistory(record.job, record.state, events)


# -- for people -------------------------------------------------------------------------------------------------------


def styled(state: JobState) -> str:
    return f"[{STYLES.get(state, 'default')}]{state}[/]"


def _state(line: JobLine) -> str:
    return f"{styled(line.state)} [red](its flow is gone)[/]" if line.flow_gone else styled(line.state)


def show(answer: JobList | JobHistory) -> None:
    """Print the answer as a table."""
    if isinstance(answer, JobHistory):
        _show_history(answer)
        return
    table = Table("job", "state", "editor", "source", "frames", "chunks", "last event", box=None, pad_edge=False)
    for line in answer.jobs:
        chunks = f"{line.chunks_done}/{line.chunks}" if line.chunks else "-"
        name = escape(readable(line.source).rsplit("/", 1)[-1])
        table.add_row(line.job_id, _state(line), line.editor, name, str(line.frames), chunks, escape(line.message))
    out.print(table)
    counts = [f"{count} {state}" for state, count in answer.counts.items()]
    if answer.rows_refused:
        counts.append(f"{counted(answer.rows_refused, 'row')} refused (samaflow failures says why)")
    out.print(", ".join(counts) or "no jobs yet")


def _show_history(answer: JobHistory) -> None:
    job = answer.job
    out.print(f"job {job.job_id}  {styled(answer.state)}  {job.editor} {escape(job.instruction)!r}")
    out.print(
        escape(f"{readable(job.source)} frames {job.start}-{job.end - 1} -> {readable(job.output)}"), soft_wrap=True
    )
    table = Table("time (UTC)", "state", "reason", box=None, pad_edge=False)
    for event in answer.events:
        table.add_row(f"{event.at:%Y-%m-%d %H:%M:%S}", styled(event.state), escape(event.reason))
    out.print(table)


def show_parity(errors: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """Print the relative error of each tensor, its limit, and which of them are over it."""
    for name, error in errors.items():
        over = "" if error <= limits[name] else "  over its limit"
        out.print(f"{name:<28} {error:<10.3g} limit {limits[name]:g}{over}", highlight=False, markup=False)
