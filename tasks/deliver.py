"""One video from edited chunks to a published deliverable: stitch, verify, publish, lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from prefect import task
from prefect.cache_policies import NO_CACHE

import sql
from edits import storage, wire
from edits.errors import StateError, VerificationError
from edits.job import Chunk, EditJob, JobState, Marker, VideoPlan
from edits.keys import sha256_of
from edits.media import child
from edits.media.asked import as_asked
from edits.media.conversions import conversions
from edits.media.deliverables import left_out
from edits.media.fit import window_of
from edits.media.maskfile import mask_name, mask_path
from edits.media.pictures import SUFFIX
from edits.media.records import Check, FrameIndex, Picture, Pictures, QcReport, StitchChunk, StitchRequest, Verification
from edits.media.still import after_name, before_name
from edits.trust import readable
from tasks import approval, publish, record, review, sign
from tasks.intake import index_of, source_file
from tasks.luts import lut_of
from tasks.masks import mask_of
from tasks.report import frames_to_show
from tasks.run import Run
from tasks.seams import check_of, measured
from tasks.split import Prepared

PICTURES = 4
"""Frames of a job that the report shows."""


def deliver(run: Run, prepared: Prepared) -> Verification:
    """Stitch the job's chunks, check the result by decoding it, publish it.

    Raises:
        StateError: a planned chunk has no marker; a gap is never stitched over.
        VerificationError: the file is not what was planned; it is kept aside, and the message says where.
        OutputError, StoreError: it could not be published.
    """
    job, plan = prepared.job, prepared.plan
    with record.outcome(run, job.manifest_id, job.line) as outcome, run.scratch(f"deliver-{job.job_id}") as folder:
        outcome.job = job
        sql.change_state(run.db, job.job_id, JobState.STITCHING, f"all {len(plan.chunks)} chunks are edited")
        markers = markers_of(run, plan)
        sql.record_chunk_done(run.db, *markers.values())
        index = index_of(run, job.source, job.line, rate=job.rate)
        request = stitch_request(run, plan, index, markers, folder)
        child.run("stitch", request, run.limits, run.reporter(job.line, "stitch"))
        sql.change_state(run.db, job.job_id, JobState.CHECKING, "stitched")
        verification = child.run("verify", request, run.limits, run.reporter(job.line, "verify"))
        seams = keep_seams(run, plan, request)
        if seams is not None:
            verification = replace(verification, checks=(*verification.checks, seams))
        check(run, plan, request, verification)
        keep_pictures(run, plan, request)
        keep_masks(run, plan, request)
        review.of_deliverable(run, plan, request, verification.checks)
        if approval.needed(run, job):
            approval.keep(run, job, Path(request.output), verification)
        else:
            finished = sign.finish(run, plan, Path(request.output), Path(request.source), verification)
            verification = finished.verification
            publish.publish(run, job, finished, markers)
            record.end_job(run, job, JobState.DELIVERED, published(job, finished))
        review.write_page(run, job.job_id)
        return verification


def published(job: EditJob, finished: sign.Finished) -> str:
    """What the job's history says of its delivery."""
    said = "; without content credentials" if finished.credentials == sign.OFF else ""
    return f"published as {readable(job.output)}{said}"


def markers_of(run: Run, plan: VideoPlan) -> dict[str, Marker]:
    """The marker of every planned chunk, by chunk key."""
    markers = {chunk.chunk_key: storage.valid_marker(run.store, chunk.chunk_key) for chunk in plan.chunks}
    absent = [chunk for chunk in plan.chunks if markers[chunk.chunk_key] is None]
    if absent:
        frames = ", ".join(f"{chunk.start}-{chunk.end - 1}" for chunk in absent[:5])
        raise StateError(
            f"job {plan.job.job_id}: {len(absent)} of {len(plan.chunks)} chunks are not edited (frames {frames}). "
            "Run the manifest again: only these are made."
        )
    return {key: marker for key, marker in markers.items() if marker is not None}


def stitch_request(
    run: Run, plan: VideoPlan, index: FrameIndex, markers: dict[str, Marker], folder: Path
) -> StitchRequest:
    """What the media engine is told, with every file it needs on this machine."""
    job = plan.job
    asked = as_asked(index, job, job.cuts, lut_of(run, job))
    window = window_of(asked, plan.width, plan.height, plan.fit).bounds
    chunks = [stitch_chunk(run, chunk, markers[chunk.chunk_key], folder) for chunk in plan.chunks]
    start, end = (0, asked.frames) if job.scope == "full" else (job.start, job.end)
    return StitchRequest(
        source=str(source_file(run, job.source)),
        index=asked,
        start=start,
        end=end,
        edited=(job.start, job.end),
        chunks=tuple(replace(chunk, window=window) for chunk in chunks),
        detail=job.detail,
        mask=mask_of(run, job),
        blend=0 if job.seams.joint else job.seams.blend,
        deliverable=job.deliverable,
        output=str(folder / _local_name(job)),
        encoder_threads=run.settings.encoder_threads,
        pictures=tuple(frame for _, frame in frames_to_show(plan.shots, PICTURES)),
    )


def _local_name(job: EditJob) -> str:
    """What the file is called while it is made; pictures in an archive bear the deliverable's own name."""
    name = PurePosixPath(unquote(job.output))
    return name.name if name.suffix == SUFFIX else f"deliverable{name.suffix.lower()}"


def keep_pictures(run: Run, plan: VideoPlan, request: StitchRequest) -> None:
    """Put what the report shows into the store: it outlives this run."""
    folder, index = Path(request.output).parent, request.index
    pictures = [
        Picture(
            shot=shot,
            frame=frame,
            seconds=float((index.pts[frame] - index.pts[0]) * index.time_base),
            before=(folder / before_name(frame)).read_bytes(),
            after=(folder / after_name(frame)).read_bytes(),
            mask=_bytes_of(folder / mask_name(frame)),
        )
        for shot, frame in frames_to_show(plan.shots, PICTURES)
    ]
    suffix = Path(request.output).suffix
    whole = Pictures(tuple(pictures), index.colour.assumed, left_out(index, suffix), conversions(plan, index))
    run.store.put_bytes(storage.pictures_path(plan.job.job_id), wire.dump(whole))


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def keep_masks(run: Run, plan: VideoPlan, request: StitchRequest) -> None:
    """Put the video of masks into the store, if any frame has one."""
    masks = mask_path(request.output)
    if masks.exists():
        run.store.put_file(storage.mask_path(plan.job.job_id), masks)


def keep_seams(run: Run, plan: VideoPlan, request: StitchRequest) -> Check | None:
    """Measure the seams and put what they are worth into the store; None where there are none."""
    found = measured(request)
    if not found.count:
        return None
    run.store.put_bytes(storage.seams_path(plan.job.job_id), wire.dump(found))
    return check_of(found)


def stitch_chunk(run: Run, chunk: Chunk, marker: Marker, folder: Path) -> StitchChunk:
    """A chunk's two files on this machine, checked against the marker's digest."""
    output = _here(run, storage.marked_path(marker), folder / marker.output)
    if sha256_of(output) != marker.sha256:
        run.store.delete(storage.marker_path(chunk.chunk_key))
        raise StateError(
            f"{output}: damaged, its digest is not the one that its marker states. The marker is removed: run the "
            f"manifest again, and frames {chunk.start}-{chunk.end - 1} are edited anew."
        )
    return StitchChunk(
        start=chunk.start,
        end=chunk.end,
        padding=chunk.padding,
        lead=chunk.lead,
        shot=chunk.shot,
        input=str(_here(run, storage.input_path(chunk.input_key), folder / f"in-{chunk.input_key}.mov")),
        output=str(output),
    )


def _here(run: Run, path: str, copy: Path) -> Path:
    """The object as a local file: itself in a folder store, else fetched once."""
    local = run.store.local(path)
    if local is not None:
        return local
    if not copy.exists():
        run.store.fetch(path, copy)
    return copy


def check(run: Run, plan: VideoPlan, request: StitchRequest, verification: Verification) -> None:
    """Keep the checks with the job; if one failed, record them, keep the file aside and say which."""
    job = plan.job
    run.checks[job.job_id] = verification.checks
    wrong = [check for check in verification.checks if not check.passed]
    accepted = tuple(check.name for check in wrong if check.name in run.settings.qc_accept)
    failed = [check for check in wrong if check.name not in accepted]
    made = conversions(plan, request.index)
    report = QcReport(job.job_id, job.output, not failed, accepted, verification, made)
    run.store.put_bytes(storage.qc_path(job.job_id), wire.dump(report))
    if not failed:
        return
    sql.record_qc(run.db, plan.job.job_id, verification.sha256, verification.checks)
    aside = run.settings.state_folder / "failed" / f"{plan.job.job_id}{Path(request.output).suffix}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    Path(request.output).replace(aside)
    what = "; ".join(f"{check.name}: expected {check.expected}, found {check.found}" for check in failed)
    raise VerificationError(
        f"{plan.job.output}: not published, the stitched file is kept at {aside}. {what}. {_way_out(failed)}"
    )


def _way_out(failed: Sequence[Check]) -> str:
    """How to have a deliverable published that is meant to be what these checks forbid."""
    names = ", ".join(f'"{check.name}"' for check in failed)
    it = "it" if len(failed) == 1 else "them"
    return f"Where the edit is meant to do that, accept {it} in samaflow.toml: [qc] accept = [{names}] (docs/media.md)."


@task(name="deliver-video", cache_policy=NO_CACHE)
def deliver_video(run: Run, prepared: Prepared) -> Verification:
    """`deliver` as a task run."""
    return deliver(run, prepared)
