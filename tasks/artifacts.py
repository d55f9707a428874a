"""What the Prefect UI shows of a run beside its task runs. A failing artifact call never fails a job: it is logged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from edits.trust import readable
from tasks.run import Run

if TYPE_CHECKING:
    from sama_model.evaluation.evaluate import Row as EvaluationRow
    from sql import TrainingPartRecord
    from tasks.conclude import Summary
    from tasks.leftovers import Leftover
    from tasks.library import LibraryResult

PROGRESS_SECONDS = 5.0
LINKS = 50
"""Jobs that get a link of their own; beyond, the manifest's page leads to them all."""

FILES = 200
"""Files of a library that its page names."""

RETRIES = 2
"""Of a call that the server does not take; Prefect's own five take a minute, and an artifact is not worth it."""

LEFT_ALONE = 60.0
"""Seconds for which a server that could not be reached is not tried again."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@contextmanager
def live_progress(run: Run) -> Iterator[None]:
    """A progress artifact that follows the run's board until the block ends."""
    with following("All rows of the manifest", lambda: run.board.snapshot().fraction):
        yield


@contextmanager
def following(description: str, fraction: Callable[[], float]) -> Iterator[None]:
    """A progress artifact that asks for the share that is done, 0 to 1, until the block ends."""
    artifact = None
    if _in_a_flow_run():
        artifact = _attempt(lambda: create_progress_artifact(0.0, description=description))
    over = threading.Event()

    def follow(artifact_id: UUID) -> None:
        while not over.wait(PROGRESS_SECONDS):
            _attempt(lambda: update_progress_artifact(artifact_id, 100 * fraction()))

    thread = threading.Thread(target=follow, args=(artifact,), name="progress-artifact", daemon=True)
    if isinstance(artifact, UUID):
        thread.start()
    try:
        yield
    finally:
        over.set()
        if isinstance(artifact, UUID):
            thread.join()
            _attempt(lambda: update_progress_artifact(artifact, 100 * fraction()))


def publish_summary(summary: Summary) -> None:
    """A table of the rows; where the pages are served, links to them (a browser refuses links to files from here)."""
    if not _in_a_flow_run():
        return
    table = [
        {
            "line": row.line,
            "job": row.job_id,
            "state": str(row.state),
            "frames": row.frames,
            "chunks": row.chunks,
            "edited in this run": row.chunks_edited,
            "message": row.told(),
        }
        for row in summary.rows
    ]
    _attempt(lambda: create_table_artifact(table, key="jobs", description=f"Rows of {summary.manifest}"))
    if summary.review.startswith("http"):
        _attempt(lambda: create_link_artifact(summary.review, link_text="Review", key="review"))
        for row in summary.rows[:LINKS]:
            if row.review:
                _link(row.job_id, row.review)


def publish_leftovers(found: Sequence[Leftover]) -> None:
    """A table of what was left over, if there was anything."""
    if found and _in_a_flow_run():
        _attempt(lambda: create_table_artifact([asdict(item) for item in found], key="leftovers"))


def publish_library(result: LibraryResult) -> None:
    """What a run over a library found, did and skipped, as one page of text."""
    if _in_a_flow_run():
        _attempt(lambda: create_markdown_artifact(_library_page(result), key="library", description=result.library))


def publish_training(parts: Iterable[TrainingPartRecord], curves: str, sheet: str) -> None:
    """How far a training is, and where its pictures lie."""
    if not _in_a_flow_run():
        return
    rows = "\n".join(f"| {part.part} | {part.step} | {part.steps} | {part.left_out} |" for part in parts)
    pictures = "".join(f"\n{what}: `{_cell(path)}`\n" for what, path in (("Curves", curves), ("Clips", sheet)) if path)
    page = f"| part | steps done | of | examples left out |\n|---|---|---|---|\n{rows}\n{pictures}"
    _attempt(lambda: create_markdown_artifact(page, key="training"))


def publish_evaluation(rows: Sequence[EvaluationRow]) -> None:
    """The means by kind of edit."""
    if rows and _in_a_flow_run():
        table = [{"split": row.split, "kind": row.kind, "clips": row.count, **asdict(row.result)} for row in rows]
        _attempt(lambda: create_table_artifact(table, key="evaluation", description="Against the exact targets"))


def _library_page(result: LibraryResult) -> str:
    counts = "\n".join(f"| {verdict} | {count} |" for verdict, count in result.counts.items())
    rows = "\n".join(
        f"| {_cell(readable(file.uri))} | {file.verdict} | {file.state} | {_cell(file.message or file.why)} |"
        for file in result.files[:FILES]
    )
    return (
        f"`{_cell(readable(result.library))}`: {result.seen} files seen, {result.matched} match.\n\n"
        f"| files | |\n|---|---|\n{counts}\n\n| file | verdict | state | |\n|---|---|---|---|\n{rows}\n"
    )


def _cell(text: str) -> str:
    """Text that stays text in a table of Markdown."""
    kept = text.replace("\\", "\\\\").replace("\n", " ")
    return "".join(f"\\{character}" if character in "|`*_<>[]&" else character for character in kept)


def tell_delivered(summary: Summary) -> None:
    """An event for each file that this run delivered: what automations wait for."""
    for row in summary.rows:
        if row.state == "delivered":
            _tell("samaflow.job.delivered", f"samaflow.job.{row.job_id}", row.output)


def tell_budget(what: str, manifest: str) -> None:
    """An event that a budget was reached; `what` is `stopped` or `cancelled`."""
    _tell(f"samaflow.budget.{what}", "samaflow.run.budget", manifest)


def _tell(event: str, resource: str, name: str) -> None:
    if not _in_a_flow_run():
        return
    about = {"prefect.resource.id": resource, "prefect.resource.name": name}
    _attempt(lambda: emit_event(event, about))


def _link(job_id: str, address: str) -> None:
    _attempt(lambda: create_link_artifact(address, link_text=f"Review of {job_id}", key=f"review-{job_id}"))


def _in_a_flow_run() -> bool:
    """Elsewhere there is nothing that an artifact could belong to."""
    return FlowRunContext.get() is not None


@dataclass
class _Server:
    """Prefect's, as far as pictures of the work are concerned: while it is away nobody waits for it."""

    away_until: float = 0.0

    def attempt(self, call: Callable[[], T]) -> T | None:
        """What the call returns; None when it fails, or the server was away a moment ago."""
        if time.monotonic() < self.away_until:
            return None
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: RETRIES}):
                return call()
        except Exception as error:  # noqa: BLE001 - whatever a Prefect server or its absence raises, the job goes on
            log.warning("the Prefect UI does not show this: %s", error)
            if isinstance(error, httpx.TransportError):
                self.away_until = time.monotonic() + LEFT_ALONE
            return None


_attempt = _Server().attempt
