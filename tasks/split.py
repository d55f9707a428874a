"""One video from its row to chunk inputs in the store: index, resolve, plan once, decode once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from prefect import task
from prefect.cache_policies import NO_CACHE

import sql
from edits import storage, wire
from edits.cutlist import read_cuts
from edits.errors import BadRowError, RowError, SourceError, StateError
from edits.job import Chunk, EditJob, InputRecord, JobState, VideoPlan
from edits.manifest import ManifestRow, reserve_output, resolve_row
from edits.media import child
from edits.media.asked import as_asked
from edits.media.deliverables import obstacles, writable_suffixes
from edits.media.records import FrameIndex, SplitChunk, SplitRequest
from edits.plan import plan_video
from edits.timecode import Position
from edits.trust import readable
from tasks import approval, publish, record, sign
from tasks.groups import windows_of
from tasks.intake import index_of_row, source_file, unreadable
from tasks.luts import digest_of_lut, lut_of
from tasks.masks import digest_of_mask
from tasks.preview import preview_plan
from tasks.run import Run

ALREADY = "delivered already"
"""What the board says of a job whose deliverable stands."""


@dataclass(frozen=True)
class Prepared:
    """A job whose missing chunk inputs all lie in the store; or one with which this run has nothing to do (`settled`):
    it is delivered, or awaits its review."""

    job: EditJob
    plan: VideoPlan
    inputs: dict[str, InputRecord]
    """By input key."""
    missing: tuple[str, ...]
    """Chunk keys without a marker."""
    settled: bool = False


def prepare(run: Run, manifest_id: str, row: ManifestRow) -> Prepared:
    """Everything before editing, for one row. Takes the job's lease: waits while another live flow works on it.

    Raises:
        RowError, BadRowError, OutputError: this row cannot run; the others can.
    """
    with record.outcome(run, manifest_id, row.line) as outcome:
        index = index_of_row(run, row)
        record_source(run, row.source, index)
        job = resolve(run, manifest_id, row, index)
        sql.record_job(run.db, job, run.owner)
        if run.in_place_of:
            sql.record_successor(run.db, run.in_place_of, job.job_id)
        run.board.resolved(row.line, job.job_id)
        outcome.job = job
        if approval.waits(run, job):
            run.board.end(job.line, JobState.AWAITING_REVIEW, f"awaits its review: samaflow approve {job.job_id}")
            return Prepared(job, plan_of(run, job, index), {}, (), settled=True)
        if publish.take_or_wait(run, job):
            return _delivered_already(run, job, plan_of(run, job, index))
        sql.change_state(run.db, job.job_id, JobState.SPLITTING, "its turn has come")
        run.events.started(job)
        publish.check_place(run, job)
        sign.check_identity(run)
        plan = plan_of(run, job, index)
        if run.preview:
            plan = preview_plan(run, plan, index)
        card = run.catalogue[job.editor].weights[job.weights]
        sql.record_plan(run.db, plan, card.converter, card.loras)
        for number in run.renew.get(job.job_id, ()):
            run.store.delete(storage.marker_path(plan.chunks[number].chunk_key))
        missing = missing_chunks(run, plan)
        with run.lock(f"split {job.source_sha256}"):
            inputs = split_chunks(run, plan, index)
        for made in inputs.values():
            sql.record_input(run.db, made, job.source_sha256)
        sql.change_state(run.db, job.job_id, JobState.QUEUED, f"{len(missing)} of {len(plan.chunks)} chunks to edit")
        return Prepared(plan.job, plan, inputs, tuple(dict.fromkeys(chunk.chunk_key for chunk in missing)))


def record_source(run: Run, uri: str, index: FrameIndex) -> None:
    """The source with what its index says of it, the long lists left out."""
    whole: dict[str, Any] = json.loads(wire.dump(index))
    details = {name: value for name, value in whole.items() if name not in ("pts", "cuts")}
    sql.record_source(run.db, index.sha256, uri, index.size, index.frames, json.dumps(details))


def missing_chunks(run: Run, plan: VideoPlan) -> list[Chunk]:
    """The chunks without a marker. Of windows that are edited as one all are missing if one is: the markers that a dead
    worker had written of the others are taken back."""
    missing = {c.chunk_key: c for c in plan.chunks if storage.valid_marker(run.store, c.chunk_key) is None}
    for chunk in list(missing.values()):
        for other in windows_of(plan, chunk):
            if other.chunk_key not in missing:
                run.store.delete(storage.marker_path(other.chunk_key))
                missing[other.chunk_key] = other
    return [chunk for chunk in plan.chunks if chunk.chunk_key in missing]


def _delivered_already(run: Run, job: EditJob, plan: VideoPlan) -> Prepared:
    run.board.end(job.line, JobState.DELIVERED, ALREADY)
    sql.release_job(run.db, job.job_id, run.owner)
    return Prepared(job, plan, {}, (), settled=True)


def resolve(run: Run, manifest_id: str, row: ManifestRow, index: FrameIndex) -> EditJob:
    """The job that the row means on its source.

    Raises:
        BadRowError: cells that are wrong for this source.
        RowError: another row of this run writes the same file.
    """
    asked = as_asked(index, row)
    suffixes = writable_suffixes(row.deliverable, asked)
    given = (_cuts_of(run, row), digest_of_mask(run, row, index), digest_of_lut(run, row))
    with run.lock("outputs"):
        may_take = partial(publish.may_take, run, row.line)
        try:
            job = resolve_row(row, index, run.catalogue, suffixes, run.trust, manifest_id, *given, may_take)
        except BadRowError as error:
            raise BadRowError([_told_why(each, row, asked) for each in error.errors]) from error
        reserve_output(job, run.outputs)
    return job


def _told_why(error: RowError, row: ManifestRow, index: FrameIndex) -> RowError:
    """An error about the output's container with what keeps that from holding this source; others as they are."""
    if error.column != "output":
        return error
    why = obstacles(row.deliverable, index)
    if all(why.values()):
        problem = "; ".join(f"{suffix} {reason}" for suffix, reason in why.items())
        return RowError(
            row.line, "deliverable", row.deliverable, f"{problem}.", "Choose another deliverable: ffv1, say."
        )
    reason = why.get(PurePosixPath(unquote(row.target.uri)).suffix.lower(), "")
    return RowError(row.line, "output", error.value, f"this file {reason}.", error.remedy) if reason else error


def _cuts_of(run: Run, row: ManifestRow) -> tuple[Position, ...] | None:
    """Where the row says that shots begin; None where it leaves that to be found."""
    if not isinstance(row.cuts, str):
        return row.cuts
    try:
        return read_cuts(source_file(run, row.cuts)) if row.cuts else None
    except SourceError as error:
        raise unreadable(row.line, "cuts", readable(row.cuts), error) from error


def plan_of(run: Run, job: EditJob, index: FrameIndex) -> VideoPlan:
    """The job's plan: read if it was written, else made and written. Never made twice."""
    path = storage.plan_path(job.job_id)
    written = run.store.read_or_none(path)
    if written is not None:
        return wire.load(VideoPlan, written, path)
    card = run.catalogue[job.editor].weights[job.weights]
    plan = plan_video(job, index, card)
    run.store.put_bytes(path, wire.dump(plan))
    return plan


def split_chunks(run: Run, plan: VideoPlan, index: FrameIndex) -> dict[str, InputRecord]:
    """Write the inputs that the store lacks, in one decode of the source; edited chunks need theirs for the stitch."""
    inputs = {chunk.input_key: read_input(run, chunk.input_key) for chunk in plan.chunks}
    absent = [chunk for chunk in plan.chunks if inputs[chunk.input_key] is None]
    if absent:
        inputs.update(_write_inputs(run, plan, index, absent))
    return {key: record for key, record in inputs.items() if record is not None}


def read_input(run: Run, input_key: str) -> InputRecord | None:
    """The record of an input that is whole: written after the file, and the file has its size."""
    path = storage.input_record_path(input_key)
    data = run.store.read_or_none(path)
    if data is None:
        return None
    whole = wire.load(InputRecord, data, path)
    return whole if run.store.size(storage.input_path(input_key)) == whole.size else None


def _write_inputs(run: Run, plan: VideoPlan, index: FrameIndex, chunks: list[Chunk]) -> dict[str, InputRecord]:
    with run.scratch(f"split-{plan.job.job_id}") as folder:
        request = SplitRequest(
            source=str(source_file(run, plan.job.source)),
            index=as_asked(index, plan.job, plan.job.cuts, lut_of(run, plan.job)),
            chunks=tuple(
                SplitChunk(chunk.start, chunk.end, chunk.padding, str(folder / f"{chunk.input_key}.mov"))
                for chunk in chunks
            ),
            width=plan.width,
            height=plan.height,
            fit=plan.fit,
        )
        records = child.run("split", request, run.limits, run.reporter(plan.job.line, "split"))
        return {
            chunk.input_key: _put_input(run, chunk, record, Path(part.path))
            for chunk, record, part in zip(chunks, records, request.chunks, strict=True)
        }


def _put_input(run: Run, chunk: Chunk, record: InputRecord, local: Path) -> InputRecord:
    if record.frames != chunk.frames:
        raise StateError(f"{local}: {record.frames} frames were written, {chunk.frames} were planned")
    whole = InputRecord(chunk.input_key, record.sha256, record.size, record.frames, record.width, record.height)
    run.store.put_file(storage.input_path(chunk.input_key), local)
    run.store.put_bytes(storage.input_record_path(chunk.input_key), wire.dump(whole))
    return whole


@task(name="split-video", cache_policy=NO_CACHE)
def split_video(run: Run, manifest_id: str, row: ManifestRow) -> Prepared:
    """`prepare` as a task run."""
    return prepare(run, manifest_id, row)
