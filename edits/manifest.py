"""From a manifest's bytes to jobs: text to records, records to rows, and, once a source is indexed, rows to jobs.

Every wrong cell of every row is reported; good rows go on without the bad ones. Decodes no source and runs nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from edits.catalogue import Card, Catalogue
from edits.columns import BY_NAME, REQUIRED
from edits.errors import BadRowError, ManifestError, RowError, shortened
from edits.job import EditJob
from edits.keys import digest, job_id
from edits.media.asked import refusals
from edits.media.records import FrameIndex
from edits.output import default_name, open_version, place_output
from edits.plan import shots_of, working_size
from edits.rows import ManifestRow, RowCheck, RowErrors
from edits.seams import USUAL
from edits.settings import Settings
from edits.spreadsheet import Record, read_table
from edits.timecode import Position, end_frame, start_frame
from edits.trust import Trust
from edits.wording import counted

__all__ = [
    "Manifest",
    "ManifestRow",
    "manifest_of",
    "one_row_manifest",
    "read_manifest",
    "reserve_output",
    "resolve_row",
    "validate_rows",
]


@dataclass(frozen=True)
class Manifest:
    """A manifest as written: which cells stand where, and which rows are not even that."""

    manifest_id: str
    """First 16 hex digits of the bytes' sha256."""
    name: str
    header: tuple[str, ...]
    records: tuple[Record, ...]
    broken: tuple[Record, ...]
    """Those with an error."""

    @property
    def errors(self) -> tuple[RowError, ...]:
        return tuple(record.error for record in self.broken if record.error is not None)


def read_manifest(data: bytes, name: str) -> Manifest:
    """Read the text of a manifest; `name` (a path or URI) goes into errors.

    Raises:
        ManifestError: not a text table, unknown, missing or repeated columns, no rows, or beyond a limit.
    """
    table = read_table(data, name, BY_NAME)
    missing = [column for column in REQUIRED if column not in table.header]
    if missing:
        raise ManifestError(f"{name}: no column is called {' and none '.join(missing)}. Every manifest needs it.")
    records: list[Record] = []
    broken: list[Record] = []
    for found in table.records:
        (records if found.error is None else broken).append(found)
    if not records and not broken:
        raise ManifestError(f"{name}: no rows. Write one line for each edit below the column names.")
    manifest_id = hashlib.sha256(data).hexdigest()[:16]
    return Manifest(manifest_id, name, table.header, tuple(records), tuple(broken))


def one_row_manifest(cells: Mapping[str, str]) -> bytes:
    """The bytes of a manifest with one row, `cells` by column name: what a form or a retry asks for."""
    return manifest_of([cells])


def manifest_of(rows: Sequence[Mapping[str, str]]) -> bytes:
    """The bytes of a manifest; every row has the same columns."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([rows[0].keys(), *(row.values() for row in rows)])
    return text.getvalue().encode()


def validate_rows(
    manifest: Manifest,
    catalogue: Catalogue,
    deliverables: Collection[str],
    settings: Settings,
    trust: Trust,
    base: Path | str,
) -> tuple[tuple[ManifestRow, ...], tuple[RowError, ...]]:
    """(rows that can be looked at with their sources, every error of the others), both in order of line.

    `base` is the folder (a path or URI) that relative paths are relative to: the manifest's.

    Raises:
        SettingsError: a default of the settings is unknown.
        TrustError: the settings' output folder is not allowed.
    """
    check = RowCheck(catalogue, deliverables, settings, trust, base)
    rows: list[ManifestRow] = []
    errors = list(manifest.errors)
    read = [(uri, record.line) for record in manifest.broken for uri in check.files_of(record, manifest.header)]
    for record in manifest.records:
        row, found = check.row(record, manifest.header)
        errors.extend(found)
        if row is not None:
            rows.append(row)
            read.extend((uri, row.line) for uri in (row.source, row.mask, row.cuts, row.lut) if isinstance(uri, str))
        else:
            read.extend((uri, record.line) for uri in check.files_of(record, manifest.header))
    unique, repeated = _refuse_repeated_rows(rows, dict(sorted(read, key=lambda pair: -pair[1])))
    return unique, tuple(sorted((*errors, *repeated), key=lambda error: error.line))


def _refuse_repeated_rows(
    rows: list[ManifestRow], read: Mapping[str, int]
) -> tuple[tuple[ManifestRow, ...], list[RowError]]:
    """The rows, without those that would write an earlier row's file, a file that any row reads, or the same
    deliverable again. `read`: the line that names a file, by URI; rows that are wrong count too: they will be mended.
    """
    claimed: dict[object, int] = {}
    unique: list[ManifestRow] = []
    errors: list[RowError] = []
    for row in rows:
        claim = row.target.uri if row.target.is_named else _identity(row)
        if row.target.is_named and row.target.uri in read:
            errors.append(_overwrites(row.line, row.output, read[row.target.uri]))
        elif (first := claimed.setdefault(claim, row.line)) == row.line:
            unique.append(row)
        elif row.target.is_named:
            errors.append(_same_output(row.line, row.output, first))
        else:
            errors.append(_same_job(row.line, row.instruction, first))
    return tuple(unique), errors


def _identity(row: ManifestRow) -> object:
    """Everything that decides the deliverable and the name that it gets in a folder."""
    return (
        (row.source, row.instruction, row.editor, row.weights, row.start, row.end, row.seed, row.sampling),
        (row.deliverable, row.detail, row.target, row.shots),
        (
            row.scope,
            row.handles,
            row.fit,
            row.interlaced,
            row.alpha,
            row.audio,
            row.cuts,
            row.rate,
            row.seams,
            row.mask,
            row.lut,
        ),
    )


def _overwrites(line: int, output: str, source_line: int) -> RowError:
    reader = "this edit" if source_line == line else f"line {source_line}"
    problem = f"{reader} reads this file; a source is never written."
    return RowError(line, "output", shortened(output), problem, "Name another file.")


def _same_output(line: int, output: str, first: int) -> RowError:
    return RowError(line, "output", shortened(output), f"line {first} writes this file.", "Name another file.")


def _same_job(line: int, instruction: str, first: int) -> RowError:
    return RowError(
        line,
        "instruction",
        shortened(instruction),
        f"the same edit as line {first}.",
        "Delete one of the rows, or give this one another seed or output.",
    )


# -- with the source --------------------------------------------------------------------------------------------------


def resolve_row(
    row: ManifestRow,
    index: FrameIndex,
    catalogue: Catalogue,
    suffixes: Sequence[str],
    trust: Trust,
    manifest_id: str,
    cuts: Sequence[Position] | None = None,
    mask_sha256: str = "",
    lut_sha256: str = "",
    may_take: Callable[[str, str], bool] = lambda uri, job: True,
) -> EditJob:
    """The job that `row` means on its source. `suffixes`: those its deliverable can be written with, the usual first.
    `cuts` is what the row's cut list holds, `mask_sha256` and `lut_sha256` the digests of its mask and its LUT, if
    it names any. `may_take` says whether a place is free for the job of that id, where the row leaves the version open.

    Raises:
        BadRowError: every cell that is wrong for this source.
    """
    texts = _written(row)
    errors = RowErrors(row.line, texts)
    for column, problem, remedy in refusals(index, row):
        errors.add(column, problem, remedy)
    start, end = _range(row, index, errors)
    cut = _cuts(row, cuts, index, errors)
    card = catalogue[row.editor].weights[row.weights]
    _check_shots(row, len(shots_of(index if cut is None else replace(index, cuts=cut), start, end)), errors)
    resolved = _resolved(row, start, end, card, index) | _unusual(row, cut, mask_sha256, lut_sha256)
    name = default_name(row.source, row.editor, digest({"source": index.sha256, "row": resolved}))
    output = errors.catch("output", lambda: place_output(row.target, name, suffixes, trust)) or ""
    output = open_version(output, lambda uri: may_take(uri, job_id(index.sha256, resolved, uri)))
    if output == row.source:
        errors.add("output", "this is the row's own source; a source is never written.", "Name another file.")
    if errors.found:
        raise BadRowError(errors.found)
    return EditJob(
        job_id=job_id(index.sha256, resolved, output),
        manifest_id=manifest_id,
        line=row.line,
        source=row.source,
        source_sha256=index.sha256,
        start=start,
        end=end,
        instruction=row.instruction,
        editor=row.editor,
        weights=row.weights,
        weights_digest=card.digest,
        preset=row.preset,
        seed=row.seed,
        sampling=row.sampling,
        deliverable=row.deliverable,
        detail=row.detail,
        output=output,
        project=row.project,
        priority=row.priority,
        notes=row.notes,
        scope=row.scope,
        handles=row.handles,
        fit=row.fit,
        interlaced=row.interlaced,
        alpha=row.alpha,
        audio=row.audio,
        cuts=cut,
        rate=row.rate,
        shots=row.shots,
        seams=row.seams,
        mask=row.mask,
        mask_sha256=mask_sha256,
        lut=row.lut,
        lut_sha256=lut_sha256,
        review=row.review,
    )


def _written(row: ManifestRow) -> dict[str, str]:
    """The cells that a source may prove wrong, as far as they are known as written."""
    return {
        "start": row.start.text if row.start else "",
        "end": row.end.text if row.end else "",
        "output": row.output,
        "handles": str(row.handles),
        "rate": "" if row.rate is None else str(row.rate),
        "interlaced": row.interlaced,
        "alpha": row.alpha,
        "lut": row.lut,
        "audio": "all" if row.audio is None else " ".join(map(str, row.audio)),
        "cuts": row.cuts if isinstance(row.cuts, str) else " ".join(cut.text for cut in row.cuts),
    }


def _check_shots(row: ManifestRow, count: int, errors: RowErrors) -> None:
    for shot in row.shots:
        if shot.shot >= count:
            errors.add("shots", f"there is no shot {shot.shot + 1}.", f"The range has {count}, counted from 1.")


def _range(row: ManifestRow, index: FrameIndex, errors: RowErrors) -> tuple[int, int]:
    """Frames to edit: those of the row, and its handles."""
    start = errors.catch("start", lambda: start_frame(row.start, index))
    end = errors.catch("end", lambda: end_frame(row.end, index))
    if start is None or end is None:
        return 0, index.frames
    if end <= start:
        errors.add(
            "end", f"frame {end} is not after the start, frame {start}.", "The end is exclusive: write a later one."
        )
    room = min(start, index.frames - end)
    if row.handles > room:
        problem = f"the source has {counted(start, 'frame')} before the range and {index.frames - end:,} after it."
        remedy = f"Write {room} or less, or a shorter range." if room else "Write 0, or a shorter range."
        errors.add("handles", problem, remedy)
    return start - row.handles, end + row.handles


def _cuts(
    row: ManifestRow, cuts: Sequence[Position] | None, index: FrameIndex, errors: RowErrors
) -> tuple[int, ...] | None:
    """The frames of a cut list, ascending, without 0; None without a list."""
    if cuts is None:
        return None
    found = [errors.catch("cuts", partial(start_frame, cut, index)) for cut in cuts]
    return tuple(sorted({frame for frame in found if frame}))


def _unusual(row: ManifestRow, cuts: tuple[int, ...] | None, mask_sha256: str, lut_sha256: str) -> dict[str, object]:
    """What later columns add to a row's meaning: left out where they say the usual, so that old jobs keep their ids."""
    asked = {
        "scope": (row.scope, "range"),
        "handles": (row.handles, 0),
        "rate": (None if row.rate is None else str(row.rate), None),
        "fit": (row.fit, "squeeze"),
        "interlaced": (row.interlaced, "refuse"),
        "alpha": (row.alpha, "refuse"),
        "audio": (row.audio, None),
        "cuts": (cuts, None),
        "mask": (mask_sha256, ""),
        "lut": (lut_sha256, ""),
        "seams": (asdict(row.seams), asdict(USUAL)),
        "shots": ([asdict(shot) for shot in row.shots], []),
    }
    return {name: value for name, (value, usual) in asked.items() if value != usual}


def _resolved(row: ManifestRow, start: int, end: int, card: Card, index: FrameIndex) -> dict[str, object]:
    """Everything beside source and place that decides the deliverable: what a row means, not how it says it.

    The card is in it because an upgrade of the model makes another deliverable of the same row.
    """
    geometry = card.geometry
    return {
        "start": start,
        "end": end,
        "instruction": row.instruction,
        "editor": row.editor,
        "editor_version": card.editor_version,
        "weights_digest": card.digest,
        "numerics": card.numerics,
        "geometry": [geometry.chunk_frames, geometry.stride, geometry.lead, geometry.temporal_factor],
        "size": list(working_size(index, card)),
        "seed": row.seed,
        "sampling": asdict(row.sampling) if row.sampling is not None else None,
        "deliverable": row.deliverable,
        "detail": row.detail,
    }


def reserve_output(job: EditJob, taken: dict[str, int]) -> None:
    """Note in `taken` (URI to line) where `job` writes: two rows may name one file, which shows once names are made.

    Raises:
        RowError: an earlier row writes there.
    """
    first = taken.setdefault(job.output, job.line)
    if first != job.line:
        raise _same_output(job.line, job.output, first)
