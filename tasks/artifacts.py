"""What the Prefect UI shows of a run beside its task runs. A failing artifact call never fails a job: it is logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tasks.run import Run

if TYPE_CHECKING:
    from tasks.conclude import Summary

PROGRESS_SECONDS = 5.0
LINKS = 50
"""Deliverables that get a link of their own; beyond, the table names them all."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@contextmanager
def live_progress(run: Run) -> Iterator[None]:
    """A progress artifact that follows the run's board until the block ends."""
    artifact = _attempt(lambda: create_progress_artifact(0.0, description="All rows of the manifest"))
    over = threading.Event()

    def follow(artifact_id: UUID) -> None:
        while not over.wait(PROGRESS_SECONDS):
            _attempt(lambda: update_progress_artifact(artifact_id, 100 * run.board.snapshot().fraction))

    thread = threading.Thread(target=follow, args=(artifact,), name="progress-artifact", daemon=True)
    if isinstance(artifact, UUID):
        thread.start()
    try:
        yield
    finally:
        over.set()
        if isinstance(artifact, UUID):
            thread.join()
            _attempt(lambda: update_progress_artifact(artifact, 100 * run.board.snapshot().fraction))


def publish_summary(summary: Summary) -> None:
    """A table of the rows, and a link to the report and to each deliverable."""
    table = [
        {
            "line": row.line,
            "job": row.job_id,
            "state": str(row.state),
            "frames": row.frames,
            "chunks": row.chunks,
            "edited in this run": row.chunks_edited,
            "message": row.message,
        }
        for row in summary.rows
    ]
    _attempt(lambda: create_table_artifact(table, key="jobs", description=f"Rows of {summary.manifest}"))
    _attempt(lambda: create_link_artifact(summary.report, link_text="Report", key="report"))
    for row in summary.rows[:LINKS]:
        if row.state == "delivered":
            _link(row.job_id, row.output)


def _link(job_id: str, output: str) -> None:
    _attempt(lambda: create_link_artifact(output, link_text=output.rsplit("/", 1)[-1], key=f"deliverable-{job_id}"))


def _attempt(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever a Prefect server or its absence raises, the job goes on
        log.warning("the Prefect UI does not show this: %s", error)
        return None
