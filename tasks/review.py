"""The review of a job: a review copy made beside its deliverable, and the page that plays it. One folder a job.

`review.json` in that folder says what the copy shows, so that the page can be written again when the job has moved on.
A review that fails never fails the job: it is logged, and the job goes on without a page.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import RecordError, SamaflowError
from edits.job import STRICT, Chunk, EditJob, VideoPlan
from edits.media import child
from edits.media.blend import takeovers
from edits.media.maskfile import mask_path
from edits.media.records import Check, FrameIndex, ReviewRequest, ReviewSpan, StitchChunk, StitchRequest
from edits.media.review import contact_names, duration_of, layout_of
from edits.storage import Store
from tasks import review_page
from tasks.gather import facts_of, kept_of, remarks, seams_of, written_plan
from tasks.review_page import Card, Contact, Decided, PageChunk, ReviewIndex, ReviewPage, Seam
from tasks.run import Run

log = logging.getLogger(__name__)

COPY = "review.mp4"
PAGE = "index.html"
FACTS = "review.json"
CONTACTS = 24
"""Frames of a contact sheet at most: each shot's first, middle and last while there is room."""


@dataclass(frozen=True)
class Review:
    """`review.json`: what a review copy shows, and what was known when it was made."""

    __pydantic_config__ = STRICT
    kind: str
    """`deliverable`, or the kind of preview."""
    spans: tuple[tuple[int, int], ...]
    """Source frames shown, half-open, in order."""
    width: int
    height: int
    below: bool
    """Layout of the copy (`edits.media.review.Layout`)."""
    rate: Fraction | None
    times: tuple[float, ...]
    """Seconds at which each frame of the copy begins; empty when `rate` says it."""
    contacts: tuple[int, ...]
    seams: tuple[Seam, ...]
    checks: tuple[Check, ...]
    timings: tuple[tuple[str, float], ...]
    masked: bool = False
    """Whether the copy shows the mask of every frame."""


# -- making -----------------------------------------------------------------------------------------------------------


def of_deliverable(run: Run, plan: VideoPlan, request: StitchRequest, checks: tuple[Check, ...]) -> None:
    """Make the review of a deliverable that lies finished at `request.output`."""
    spans = (ReviewSpan(*request.edited_range),)
    masks = mask_path(request.output)
    asked = ReviewRequest(
        source=request.source,
        index=request.index,
        result=request.output,
        result_start=request.start,
        spans=spans,
        output="",
        contacts=contact_frames(plan.shots),
        mask=str(masks) if masks.exists() else "",
    )
    _make(run, plan, asked, Path(request.output).parent, "deliverable", _seams(request), checks)


def of_preview(
    run: Run, plan: VideoPlan, index: FrameIndex, chunks: Sequence[StitchChunk], folder: Path, kind: str
) -> None:
    """Make the review of a preview: what its chunks hold, unblended and at working size.

    Raises:
        SamaflowError: it could not be made; without it nobody can decide.
    """
    spans = tuple(_preview_spans(chunks))
    shown = tuple((span.start, span.end) for span in spans)
    asked = ReviewRequest("", index, "", 0, spans, "", contact_frames(shown))
    _write(run, plan, asked, folder, kind, (), ())


def _preview_spans(chunks: Sequence[StitchChunk]) -> Iterator[ReviewSpan]:
    """Each chunk's frames; where two overlap, the later one takes over after its lead."""
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        start = chunk.start + chunk.lead
        end = chunk.end
        if following is not None and following.shot == chunk.shot:
            end = min(end, following.start + following.lead)
        yield ReviewSpan(start, end, chunk.start, chunk.input, chunk.output)


def _make(
    run: Run,
    plan: VideoPlan,
    asked: ReviewRequest,
    folder: Path,
    kind: str,
    seams: tuple[Seam, ...],
    checks: tuple[Check, ...],
) -> None:
    if run.settings.review_pages == "off":
        return
    try:
        _write(run, plan, asked, folder, kind, seams, checks)
    except SamaflowError as error:
        log.warning("job %s has no review page: %s", plan.job.job_id, error)


def _write(
    run: Run,
    plan: VideoPlan,
    asked: ReviewRequest,
    folder: Path,
    kind: str,
    seams: tuple[Seam, ...],
    checks: tuple[Check, ...],
) -> None:
    job = plan.job
    request = replace(asked, output=str(folder / COPY))
    child.run("review", request, run.limits, run.reporter(job.line, "verify"))
    for name in (COPY, *(name for frame in request.contacts for name in contact_names(frame))):
        run.store.put_file(storage.report_path(job.job_id, name), folder / name)
    layout = layout_of(request.index)
    review = Review(
        kind=kind,
        spans=tuple((span.start, span.end) for span in request.spans),
        width=layout.width,
        height=layout.height,
        below=layout.below,
        rate=request.index.rate,
        times=() if request.index.rate else tuple(_times(request)),
        contacts=request.contacts,
        seams=seams,
        checks=checks,
        timings=_timings(run, job),
        masked=bool(request.mask),
    )
    run.store.put_bytes(storage.report_path(job.job_id, FACTS), wire.dump(review))


def _timings(run: Run, job: EditJob) -> tuple[tuple[str, float], ...]:
    (progress,) = [each for each in run.board.snapshot().jobs if each.line == job.line]
    return tuple(progress.seconds_by_stage().items())


def _times(request: ReviewRequest) -> Iterator[float]:
    """When each frame of the copy begins, and when the last one ends."""
    clock = 0
    for span in request.spans:
        for number in range(span.start, span.end):
            yield float(clock * request.index.time_base)
            clock += duration_of(request.index, number)
    yield float(clock * request.index.time_base)


def _seams(request: StitchRequest) -> tuple[Seam, ...]:
    """Where one chunk takes over from another."""
    plan = takeovers(request.chunks, *request.edited_range, request.blend)
    shots = [chunk.shot for chunk in request.chunks]
    return tuple(
        Seam(takeover.first, takeover.length)
        for takeover in plan[1:]
        if shots[takeover.chunk] == shots[takeover.chunk - 1]
    )


def contact_frames(shots: Sequence[tuple[int, int]], limit: int = CONTACTS) -> tuple[int, ...]:
    """Frames for a contact sheet, ascending: of each shot the middle; also the first and last while there is room;
    spread evenly over the shots when there are more than `limit`."""
    if not shots:
        return ()
    if len(shots) >= limit:
        return tuple(sum(shots[int(n * len(shots) / limit)]) // 2 for n in range(limit))
    each = max(1, min(3, limit // len(shots)))
    if len(shots) == 1:
        each = min(8, shots[0][1] - shots[0][0])
    frames = {start + (2 * n + 1) * (end - start) // (2 * each) for start, end in shots for n in range(each)}
    return tuple(sorted(frames))


# -- pages ------------------------------------------------------------------------------------------------------------


def review_of(store: Store, job_id: str) -> Review | None:
    """What the job's review copy shows; None when there is none, or it is of another version."""
    path = storage.report_path(job_id, FACTS)
    data = store.read_or_none(path)
    with suppress(RecordError):
        return None if data is None else wire.load(Review, data, path)
    return None


def write_page(run: Run, job_id: str) -> str:
    """Write the job's page anew; returns its path in the store, or nothing when the job has no review copy."""
    review = review_of(run.store, job_id)
    record = sql.job(run.db, job_id)
    kind = "deliverable" if review is None else review.kind
    plan = written_plan(run, record.job) if kind == "deliverable" else _previewed_plan(run, job_id)
    if review is None or plan is None:
        return ""
    artifact = sql.output_of(run.db, job_id)
    facts = facts_of(record.job, plan, artifact.sha256 if artifact else "")
    before = sql.change_before(run.db, job_id)
    page = ReviewPage(
        job=record.job,
        state=record.state,
        kind=review.kind,
        spans=review.spans,
        width=review.width,
        height=review.height,
        below=review.below,
        rate=review.rate,
        times=review.times,
        shots=plan.shots,
        chunks=tuple(_page_chunk(run, chunk) for chunk in plan.chunks),
        seams=review.seams,
        measured=seams_of(run, record.job) if review.kind == "deliverable" else (),
        masked=review.masked,
        contacts=tuple(Contact(frame, *contact_names(frame)) for frame in review.contacts),
        checks=review.checks,
        timings=review.timings,
        lineage=(*facts, *remarks(kept_of(run, record.job))),
        problem=record.failure_message,
        decisions=tuple(_decided(run, each) for each in sql.approvals(run.db, job_id)),
        before=None if before is None else _decided(run, before),
    )
    path = storage.report_path(job_id, PAGE)
    run.store.put_bytes(path, review_page.render(page).encode())
    return path


def _decided(run: Run, decision: sql.ApprovalRecord) -> Decided:
    jobs = (decision.job_id, decision.successor_id)
    shown = frozenset(job for job in jobs if job and run.store.size(storage.report_path(job, PAGE)) is not None)
    return Decided(
        *jobs, decision.verdict, decision.reviewer, decision.reason, decision.changes, decision.recorded_at, shown
    )


def _previewed_plan(run: Run, job_id: str) -> VideoPlan | None:
    path = storage.preview_plan_path(job_id)
    data = run.store.read_or_none(path)
    return None if data is None else wire.load(VideoPlan, data, path)


def _page_chunk(run: Run, chunk: Chunk) -> PageChunk:
    marker = storage.valid_marker(run.store, chunk.chunk_key)
    return PageChunk(
        index=chunk.index,
        shot=chunk.shot,
        start=chunk.start,
        end=chunk.end,
        lead=chunk.lead,
        padding=chunk.padding,
        seconds=tuple(marker.seconds.items()) if marker else (),
        device=marker.device if marker else "",
        peak_memory_bytes=marker.peak_memory_bytes if marker else 0,
    )


def write_index(run: Run, manifest_id: str) -> str:
    """Write the page of a manifest, which leads to those of its jobs; returns its path in the store."""
    cards = tuple(card_of(run.store, record) for record in sql.jobs(run.db, manifest_id, limit=None))
    path = storage.manifest_page_path(manifest_id)
    run.store.put_bytes(
        path, review_page.render_index(ReviewIndex(sql.manifest_name(run.db, manifest_id), manifest_id, cards)).encode()
    )
    return path


def card_of(store: Store, record: sql.JobRecord) -> Card:
    """The job on a page of many."""
    review = review_of(store, record.job_id)
    return Card(
        job=record.job,
        state=record.state,
        message=record.failure_message,
        failed_checks=sum(not check.passed for check in review.checks) if review else 0,
        checks=len(review.checks) if review else 0,
        pictures=contact_names(review.contacts[len(review.contacts) // 2]) if review and review.contacts else None,
    )


def page_address(run: Run, job_id: str) -> str:
    """Address of a job's page, or nothing when it has none."""
    path = storage.report_path(job_id, PAGE)
    return address(run, path) if run.store.size(path) is not None else ""


def address(run: Run, path: str) -> str:
    """Where people open a page of the store: under the address that is set, else as it lies."""
    return f"{run.settings.review_url.rstrip('/')}/{path}" if run.settings.review_url else run.store.uri(path)
