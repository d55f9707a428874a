"""The end of a run: what became of every row, as a record, an HTML report and Prefect artifacts."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import RecordError, SamaflowError, shortened
from edits.job import EditJob, JobState, Marker, VideoPlan
from edits.media import child
from edits.media.records import StillRequest
from edits.trust import local_path
from tasks import artifacts
from tasks.intake import Order, source_file
from tasks.progress import JobProgress
from tasks.report import (
    ChunkState,
    Report,
    ReportChunk,
    ReportFact,
    ReportJob,
    ReportPicture,
    ReportProblem,
    ReportTiming,
    frames_to_show,
    render,
)
from tasks.run import Run
from tasks.split import ALREADY

PICTURES = 4
"""Frames of a job that the report shows."""
PICTURE_WIDTH = 480
"""Pixels."""


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


@dataclass(frozen=True)
class Summary:
    """What became of a manifest."""

    manifest_id: str
    manifest: str
    rows: tuple[RowResult, ...]
    report: str
    """Path of the HTML report."""
    seconds: float

    @property
    def failed(self) -> int:
        return sum(row.state != JobState.DELIVERED for row in self.rows)

    @property
    def chunks_edited(self) -> int:
        return sum(row.chunks_edited for row in self.rows)


class SomeJobsFailedError(Exception):
    """The run is over and at least one row is not delivered. Raised so that the flow run counts as failed."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        first = next(row for row in summary.rows if row.state != JobState.DELIVERED)
        super().__init__(
            f"{summary.failed} of {len(summary.rows)} rows were not delivered; line {first.line}: {first.message}"
        )


def conclude(run: Run, order: Order) -> Summary:
    """Write the report and the artifacts.

    Raises:
        SomeJobsFailedError: not every row is delivered.
    """
    snapshot = run.board.snapshot()
    results = [_row_result(run, progress) for progress in snapshot.jobs]
    results += [RowResult(e.line, "", JobState.FAILED, str(e), "", 0, 0, 0, {}) for e in order.errors]
    results.sort(key=lambda result: result.line)
    report = write_report(run, order, snapshot.jobs, snapshot.elapsed)
    summary = Summary(order.manifest_id, order.name, tuple(results), str(report), snapshot.elapsed)
    artifacts.publish_summary(summary)
    if summary.failed:
        raise SomeJobsFailedError(summary)
    return summary


def _row_result(run: Run, progress: JobProgress) -> RowResult:
    if not progress.job_id:
        return RowResult(progress.line, "", progress.state, progress.message, "", 0, 0, 0, dict(progress.seconds))
    job = sql.job(run.db, progress.job_id).job
    plan = _plan(run, job)
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
        seconds=seconds_by_stage(progress),
    )


def seconds_by_stage(progress: JobProgress) -> dict[str, float]:
    """Wall seconds of each stage; a stage that was entered twice is added up."""
    total: Counter[str] = Counter()
    for stage, seconds in progress.seconds:
        total[stage] += seconds  # type: ignore[assignment]
    return dict(total)


def _plan(run: Run, job: EditJob) -> VideoPlan | None:
    try:
        path = storage.plan_path(job.job_id)
        return wire.load(VideoPlan, run.store.read(path), path)
    except RecordError:
        return None


# -- the report -------------------------------------------------------------------------------------------------------


def write_report(run: Run, order: Order, jobs: tuple[JobProgress, ...], seconds: float) -> Path:
    """Render the report of this run and put it into the state folder, in one step."""
    report = Report(
        manifest=order.name,
        manifest_id=order.manifest_id,
        store=run.settings.store,
        executor=f"{run.settings.executor}, {run.settings.workers} workers",
        version=importlib.metadata.version("samaflow"),
        started=datetime.now(UTC) - timedelta(seconds=seconds),
        seconds=seconds,
        jobs=tuple(_report_job(run, progress) for progress in jobs if progress.job_id),
        row_errors=order.errors,
    )
    target = run.settings.state_folder / "reports" / f"{order.manifest_id}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_text(render(report), encoding="utf-8")
    return part.replace(target)


def _report_job(run: Run, progress: JobProgress) -> ReportJob:
    record = sql.job(run.db, progress.job_id)
    job, plan = record.job, _plan(run, record.job)
    artifact = sql.output_of(run.db, job.job_id)
    delivered = record.state is JobState.DELIVERED
    return ReportJob(
        line=progress.line,
        job_id=job.job_id,
        state=record.state,
        source=job.source,
        output=job.output,
        instruction=job.instruction,
        editor=job.editor,
        weights=job.weights,
        deliverable=job.deliverable,
        start=job.start,
        end=job.end,
        seconds=sum(seconds for _, seconds in progress.seconds),
        size=artifact.size if artifact and delivered else None,
        already_delivered=progress.message == ALREADY,
        shots=plan.shots if plan else (),
        chunks=tuple(_report_chunks(run, plan)) if plan else (),
        pictures=tuple(_pictures(run, plan)) if plan and delivered else (),
        timings=tuple(ReportTiming(name, spent) for name, spent in seconds_by_stage(progress).items()),
        checks=run.checks.get(job.job_id, ()),
        lineage=tuple(_facts(job, plan, artifact.sha256 if artifact and delivered else "")),
        problem=None if delivered else ReportProblem(progress.category, progress.message, transient=False),
        notes=job.notes,
    )


def _report_chunks(run: Run, plan: VideoPlan) -> Iterator[ReportChunk]:
    for chunk in plan.chunks:
        marker: Marker | None = run.edited.get(chunk.chunk_key)
        state = ChunkState.EDITED if marker else ChunkState.REUSED
        if marker is None and storage.valid_marker(run.store, chunk.chunk_key) is None:
            state = ChunkState.MISSING
        seconds = sum(marker.seconds.values()) if marker else 0.0
        yield ReportChunk(chunk.shot, chunk.start, chunk.end, chunk.padding, state, seconds)


def _pictures(run: Run, plan: VideoPlan) -> Iterator[ReportPicture]:
    """Frames before and after; a picture that cannot be made is left out, the deliverable does not depend on it."""
    if not plan.job.output.startswith("file:"):
        return
    source, result = source_file(run, plan.job.source), local_path(plan.job.output)
    for shot, frame in frames_to_show(plan.shots, PICTURES):
        try:
            before = child.run("still", StillRequest(str(source), frame, PICTURE_WIDTH), run.settings.limits)
            after = child.run(
                "still", StillRequest(str(result), frame - plan.job.start, PICTURE_WIDTH), run.settings.limits
            )
        except SamaflowError:
            continue
        yield ReportPicture(shot, frame, before.seconds, before.picture, after.picture)


def _facts(job: EditJob, plan: VideoPlan | None, sha256: str) -> Iterator[ReportFact]:
    yield ReportFact("Source sha256", job.source_sha256)
    yield ReportFact("Frames", f"{job.start} to {job.end - 1}")
    yield ReportFact("Editor", f"{job.editor}, version {plan.editor_version}" if plan else job.editor)
    yield ReportFact("Weights", f"{job.weights} {job.weights_digest}".strip())
    if job.sampling is not None:
        sampling = job.sampling
        yield ReportFact(
            "Sampling", f"{sampling.steps} steps, guidance {sampling.guidance:g}, shift {sampling.shift:g}"
        )
        yield ReportFact("Seed", str(job.seed))
    if plan is not None:
        yield ReportFact("Working size", f"{plan.width} x {plan.height}, {plan.numerics}")
    if sha256:
        yield ReportFact("Deliverable sha256", sha256)
    yield ReportFact("Instruction", shortened(job.instruction, 400))
