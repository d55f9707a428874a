"""The end of a run: what became of every row, as a record, an HTML report and Prefect artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sql
from edits.errors import WrongCell, cells_told, wrong_cells
from edits.job import JobState
from tasks import artifacts, review
from tasks.gather import write_report, written_plan
from tasks.intake import Order
from tasks.progress import JobProgress
from tasks.run import Run

FINE = frozenset({JobState.DELIVERED, JobState.AWAITING_REVIEW, JobState.PLANNED})
"""States in which a row may leave a run without having failed."""

COLUMNS: Mapping[str, str] = MappingProxyType({})
"""Cells are named by their columns: the names of `RowResult.told` where the reader has written a manifest."""


@dataclass(frozen=True)
class RowResult:
    """What became of one row. Part of the `--json` output: fields are added, never renamed."""

    line: int
    job_id: str
    """Empty when the row never became a job."""
    state: str
    message: str
    output: str
    """URI of the deliverable."""
    frames: int
    chunks: int
    chunks_edited: int
    """By this run."""
    seconds: dict[str, float]
    """Wall seconds by stage."""
    review: str = ""
    """Address of the job's review page; empty without one."""
    errors: tuple[WrongCell, ...] = ()
    """The row's wrong cells; empty where it is not cells that are wrong."""

    def told(self, names: Mapping[str, str] = COLUMNS) -> str:
        """The message without the line, which stands beside it. `names`: what the reader knows the cells by."""
        return cells_told(self.errors, names) if self.errors else self.message


@dataclass(frozen=True)
class Summary:
    """What became of a manifest."""

    manifest_id: str
    manifest: str
    rows: tuple[RowResult, ...]
    report: str
    """Path of the HTML report."""
    review: str
    """Address of the manifest's review page."""
    seconds: float

    @property
    def failed(self) -> int:
        """Rows that ended otherwise than they should: not those that wait for a review or were left for later."""
        return sum(row.state not in FINE for row in self.rows)

    @property
    def chunks_edited(self) -> int:
        return sum(row.chunks_edited for row in self.rows)


class SomeJobsFailedError(Exception):
    """The run is over and at least one row is not delivered. Raised so that the flow run counts as failed."""

    def __init__(self, summary: Summary, said: str = "") -> None:
        """`said`: what to say of it, where no manifest's line is to be named."""
        self.summary = summary
        first = self.first
        count = f"{summary.failed} of {len(summary.rows)} rows were not delivered"
        super().__init__(said or f"{count}; line {first.line}: {first.told()}")

    @property
    def first(self) -> RowResult:
        return next(row for row in self.summary.rows if row.state not in FINE)


def conclude(run: Run, order: Order) -> Summary:
    """Write the report and the artifacts.

    Raises:
        SomeJobsFailedError: not every row is delivered.
    """
    snapshot = run.board.snapshot()
    results = [_row_result(run, progress) for progress in snapshot.jobs]
    results += [
        RowResult(row.line, "", JobState.FAILED, str(row), "", 0, 0, 0, {}, errors=wrong_cells(row))
        for row in order.bad_rows
    ]
    results.sort(key=lambda result: result.line)
    report = write_report(run, order, snapshot)
    page = review.address(run, review.write_index(run, order.manifest_id))
    summary = Summary(order.manifest_id, order.name, tuple(results), str(report), page, snapshot.elapsed)
    artifacts.publish_summary(summary)
    artifacts.tell_delivered(summary)
    if summary.failed:
        raise SomeJobsFailedError(summary)
    return summary


def _row_result(run: Run, progress: JobProgress) -> RowResult:
    if not progress.job_id:
        seconds = progress.seconds_by_stage()
        return RowResult(
            progress.line, "", progress.state, progress.message, "", 0, 0, 0, seconds, errors=progress.wrong
        )
    job = sql.job(run.db, progress.job_id).job
    plan = written_plan(run, job)
    keys = {chunk.chunk_key for chunk in plan.chunks} if plan else set()
    return RowResult(
        line=progress.line,
        job_id=job.job_id,
        state=progress.state,
        message=progress.message,
        output=job.output,
        frames=job.end - job.start,
        chunks=len(plan.chunks) if plan else 0,
        chunks_edited=len(keys.intersection(run.edited)),
        seconds=progress.seconds_by_stage(),
        review=review.page_address(run, job.job_id),
    )
