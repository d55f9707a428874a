"""Collects what the report of a run shows from the board, the database, the store and the files themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import RecordError, is_transient, shortened
from edits.job import Chunk, EditJob, JobState, Marker, VideoPlan
from edits.media.pictures import FIRST
from edits.media.records import Picture, Pictures
from tasks.intake import Order
from tasks.progress import JobProgress, Snapshot
from tasks.report import (
    ChunkState,
    Report,
    ReportChunk,
    ReportFact,
    ReportJob,
    ReportPicture,
    ReportProblem,
    ReportRow,
    ReportSeam,
    ReportTiming,
    render,
)
from tasks.run import Run
from tasks.seams import MeasuredSeam, MeasuredSeams
from tasks.split import ALREADY
from tasks.version import code_version


def write_report(run: Run, order: Order, snapshot: Snapshot) -> Path:
    """Render the report of this run and put it into the state folder, in one step."""
    sources = {row.line: row.source for row in order.rows}
    report = Report(
        manifest=order.name,
        manifest_id=order.manifest_id,
        store=run.settings.store,
        executor=f"{run.settings.executor}, {run.settings.workers} worker{'s' * (run.settings.workers > 1)}",
        version=code_version(),
        started=datetime.now(UTC) - timedelta(seconds=snapshot.elapsed),
        seconds=snapshot.elapsed,
        jobs=tuple(_job(run, progress) for progress in snapshot.jobs if progress.job_id),
        row_errors=order.errors,
        stopped_rows=tuple(
            ReportRow(progress.line, sources[progress.line], _problem(progress))
            for progress in snapshot.jobs
            if not progress.job_id
        ),
    )
    target = run.settings.state_folder / "reports" / f"{order.report_name or order.manifest_id}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.part")
    part.write_text(render(report), encoding="utf-8")
    return part.replace(target)


def _job(run: Run, progress: JobProgress) -> ReportJob:
    record = sql.job(run.db, progress.job_id)
    job, plan = record.job, written_plan(run, record.job)
    artifact = sql.output_of(run.db, job.job_id)
    delivered = record.state is JobState.DELIVERED
    kept = kept_of(run, job) if delivered else Pictures(())
    markers = {chunk.chunk_key: _marker(run, chunk) for chunk in plan.chunks} if plan else {}
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
        chunks=tuple(_chunk(run, chunk, markers[chunk.chunk_key]) for chunk in plan.chunks) if plan else (),
        pictures=tuple(map(_picture, kept.pictures)),
        timings=tuple(ReportTiming(name, spent) for name, spent in progress.seconds_by_stage().items()),
        checks=run.checks.get(job.job_id, ()),
        seams=seams_of(run, job) if delivered else (),
        lineage=(
            *facts_of(job, plan, artifact.sha256 if artifact and delivered else ""),
            *remarks(kept),
            *cut_facts(marker for marker in markers.values() if marker),
        ),
        problem=None if delivered else _problem(progress),
        project=job.project,
        notes=job.notes,
    )


def _problem(progress: JobProgress) -> ReportProblem:
    return ReportProblem(progress.category, progress.message, is_transient(progress.category))


def _marker(run: Run, chunk: Chunk) -> Marker | None:
    """Of this run or an earlier one."""
    return run.edited.get(chunk.chunk_key) or storage.valid_marker(run.store, chunk.chunk_key)


def _chunk(run: Run, chunk: Chunk, marker: Marker | None) -> ReportChunk:
    edited = chunk.chunk_key in run.edited
    state = ChunkState.EDITED if edited else ChunkState.REUSED if marker else ChunkState.MISSING
    seconds = sum(marker.seconds.values()) if edited and marker else 0.0
    return ReportChunk(chunk.shot, chunk.start, chunk.end, chunk.padding, state, seconds)


def cut_facts(markers: Iterable[Marker]) -> Iterator[ReportFact]:
    if cut := max((marker.cut_tokens for marker in markers), default=0):
        yield ReportFact(
            "Instruction cut", f"its last {cut} tokens do not fit the text encoder and were not read: shorten it"
        )


def kept_of(run: Run, job: EditJob) -> Pictures:
    """What the delivery put aside for the report."""
    path = storage.pictures_path(job.job_id)
    data = run.store.read_or_none(path)
    return Pictures(()) if data is None else wire.load(Pictures, data, path)


def _picture(kept: Picture) -> ReportPicture:
    return ReportPicture(kept.shot, kept.frame, kept.seconds, kept.before, kept.after, kept.mask)


def seams_of(run: Run, job: EditJob) -> tuple[ReportSeam, ...]:
    """What the seams of the job's deliverable were measured to be worth."""
    path = storage.seams_path(job.job_id)
    data = run.store.read_or_none(path)
    return () if data is None else tuple(map(_seam, wire.load(MeasuredSeams, data, path).seams))


def _seam(seam: MeasuredSeam) -> ReportSeam:
    return ReportSeam(seam.frame, seam.difference, seam.warp, seam.luma, seam.sharpness, seam.shows)


def facts_of(job: EditJob, plan: VideoPlan | None, sha256: str) -> Iterator[ReportFact]:
    """What a deliverable is made of, a line a fact; `sha256` is its own, or empty."""
    yield ReportFact("Source sha256", job.source_sha256)
    yield ReportFact("Frames", f"{job.start} to {job.end - 1}")
    if job.handles and job.scope == "range":
        yield ReportFact("Frame numbers", _numbered(job))
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


def _numbered(job: EditJob) -> str:
    """As visual effects count: from 1001, handles first."""
    last = FIRST + job.end - job.start - 1
    cut = f"{FIRST + job.handles} to {last - job.handles}"
    return f"{FIRST} to {last}, of which {cut} are the cut and the rest its handles of {job.handles}"


def remarks(kept: Pictures) -> Iterator[ReportFact]:
    """What a deliverable states that its source did not, what was converted, and what it does not hold."""
    if kept.colour_assumed:
        yield ReportFact(
            "Colour", f"the source does not state its {', '.join(kept.colour_assumed)}: assumed, and tagged so"
        )
    for conversion in kept.conversions:
        yield ReportFact("Conversion", conversion)
    if kept.not_carried:
        yield ReportFact("Not carried over", ", ".join(kept.not_carried))


def written_plan(run: Run, job: EditJob) -> VideoPlan | None:
    """The plan as it lies in the store; None when the job did not get that far, or failed because it is damaged."""
    path = storage.plan_path(job.job_id)
    data = run.store.read_or_none(path)
    try:
        return None if data is None else wire.load(VideoPlan, data, path)
    except RecordError:
        return None
