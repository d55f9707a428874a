"""What a manifest will take: chunks, bytes and time, counted without running anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from edits import storage
from edits.errors import OutputError, RowError, SamaflowError, WrongCell, sentence, shortened, without, wrong_cells
from edits.job import EditJob
from edits.manifest import ManifestRow
from edits.media.asked import as_asked
from edits.media.conversions import conversions, lost_depth
from edits.media.records import LutFile
from edits.plan import Estimate, estimate, plan_video, total
from tasks import publish
from tasks.groups import windows_of
from tasks.intake import Order, index_of_row
from tasks.run import Run
from tasks.split import resolve


@dataclass(frozen=True)
class RowForecast:
    """One row's plan, or why there is none. Part of the `--json` output: fields are added, never renamed."""

    line: int
    source: str
    editor: str
    weights: str
    job_id: str
    output: str
    error: str
    """Empty when the row can run."""
    start: int
    end: int
    shots: int
    chunks_missing: int
    """Chunks that are not in the store yet."""
    estimate: Estimate | None
    device_bytes: dict[str, int] = field(default_factory=dict)
    """Predicted device memory for one chunk by exact profile; empty where no device is needed."""
    joint_frames: int = 0
    """Frames of the longest shot that is edited as one; 0 where none is."""
    errors: tuple[WrongCell, ...] = ()
    """The row's wrong cells; empty where it is not cells that are wrong."""
    conversions: tuple[str, ...] = ()
    """What becomes of the source's pictures, a sentence a conversion."""
    warnings: tuple[str, ...] = ()
    """Those of them that lose something which another deliverable keeps."""


@dataclass(frozen=True)
class Forecast:
    """A manifest's plan. `exact` is False when headers were trusted (`--quick`): cuts are then unknown."""

    manifest_id: str
    manifest: str
    exact: bool
    rows: tuple[RowForecast, ...]
    whole: Estimate
    """All rows that can run, as if nothing were done yet."""
    seconds_to_go: float
    """Editing time of what is missing, on one of the cards' reference devices."""
    cost: float
    """`seconds_to_go` at the price of a GPU hour that is set; 0 when none is."""
    currency: str


def forecast(run: Run, order: Order, *, quick: bool) -> Forecast:
    """Plan every row; nothing is written but the index cache."""
    rows = sorted(order.rows, key=lambda row: row.line)
    parts = [_row(run, order.manifest_id, row, quick=quick) for row in rows]
    parts += [_refused(row.line, row) for row in order.bad_rows]
    good = [part.estimate for part in parts if part.estimate is not None]
    to_go = sum(_to_go(part) for part in parts)
    return Forecast(
        manifest_id=order.manifest_id,
        manifest=order.name,
        exact=not quick,
        rows=tuple(sorted(parts, key=lambda part: part.line)),
        whole=total(good),
        seconds_to_go=to_go,
        cost=to_go / 3600 * run.settings.gpu_hour_cost,
        currency=run.settings.currency,
    )


def _to_go(part: RowForecast) -> float:
    if part.estimate is None or not part.estimate.chunks:
        return 0.0
    return part.estimate.seconds * part.chunks_missing / part.estimate.chunks


def _row(run: Run, manifest_id: str, row: ManifestRow, *, quick: bool) -> RowForecast:
    try:
        index = index_of_row(run, row, quick=quick)
        job = resolve(run, manifest_id, row, index)
        card = run.catalogue[job.editor].weights[job.weights]
        plan = plan_video(job, index, card)
        _foresee_place(run, job, row)
    except SamaflowError as error:
        return _refused(row.line, error, row.source, row.editor, row.weights)
    asked = as_asked(index, job, job.cuts, LutFile(job.lut_sha256) if job.lut else None)
    missing = [chunk for chunk in plan.chunks if storage.valid_marker(run.store, chunk.chunk_key) is None]
    return RowForecast(
        line=row.line,
        source=row.source,
        editor=job.editor,
        weights=job.weights,
        job_id=job.job_id,
        output=job.output,
        error="",
        start=job.start,
        end=job.end,
        shots=len(plan.shots),
        chunks_missing=len(missing),
        estimate=estimate(plan, index, card),
        device_bytes=dict(card.peaks),
        joint_frames=max((c.end - c.noise_origin for c in plan.chunks if len(windows_of(plan, c)) > 1), default=0),
        conversions=conversions(plan, asked),
        warnings=lost_depth(job.deliverable, asked),
    )


def _foresee_place(run: Run, job: EditJob, row: ManifestRow) -> None:
    """As `publish.foresee_place`, at the cell that names the place.

    Raises:
        RowError: the deliverable could not be published there.
    """
    try:
        publish.foresee_place(run, job)
    except OutputError as error:
        said = sentence(without(row.output, str(error)))
        raise RowError(row.line, "output", shortened(row.output), said, "") from error


def _refused(line: int, error: SamaflowError, source: str = "", editor: str = "", weights: str = "") -> RowForecast:
    said, cells = str(error), wrong_cells(error)
    return RowForecast(line, source, editor, weights, "", "", said, 0, 0, 0, 0, None, errors=cells)
