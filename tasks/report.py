"""The HTML report of a run: what was asked, what came out, what it took, what to do about the rest.

Owns the report's records and its page: one self-contained file without scripts or anything external. Knows no
database, store or decoder: pictures come in as JPEG or PNG bytes. Instructions and names are untrusted: they show as
text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edits.errors import RowError, shortened
from edits.job import JobState
from edits.media.records import Check
from edits.wording import counted

# -- records ----------------------------------------------------------------------------------------------------------


class ChunkState(StrEnum):
    """What happened to a chunk in this run."""

    EDITED = "edited"
    REUSED = "reused"
    """Its marker was there already."""
    FAILED = "failed"
    MISSING = "missing"
    """Not edited (yet): cancelled, or waiting when the report was made."""


@dataclass(frozen=True)
class ReportChunk:
    """One chunk on the timeline: `[start, end)` in source frames."""

    shot: int
    """Number of the shot in `ReportJob.shots`."""
    start: int
    end: int
    padding: int
    state: ChunkState
    seconds: float
    """Wall seconds of the edit; 0 when this run did not edit it."""


@dataclass(frozen=True)
class ReportPicture:
    """One frame before and after the edit, each JPEG or PNG bytes."""

    shot: int
    frame: int
    """Source frame number."""
    seconds: float | None
    """Its time since the source's first frame, where it is known."""
    before: bytes
    after: bytes | None
    """None when there is no deliverable to take it from."""
    mask: bytes | None = None
    """White where the edit lies, black where the source does; None without a mask."""


@dataclass(frozen=True)
class ReportSeam:
    """One place where two chunks of a shot were joined, in ratios to places without a seam."""

    frame: int
    """First source frame in which the later chunk has a part."""
    difference: float
    warp: float
    luma: float
    sharpness: float
    shows: tuple[str, ...]
    """Measures that are beyond their bound."""


@dataclass(frozen=True)
class ReportTiming:
    """Wall seconds of one part of the work, e.g. `index`, `split`, `edit`, `stitch`, `verify`."""

    name: str
    seconds: float


@dataclass(frozen=True)
class ReportFact:
    """One line of lineage, e.g. ('Source sha256', '…')."""

    name: str
    value: str


@dataclass(frozen=True)
class ReportProblem:
    """Why a job was not delivered."""

    category: str
    """`SamaflowError.category`."""
    message: str
    transient: bool


@dataclass(frozen=True)
class ReportJob:
    """One edit job. A job without pictures, chunks, checks or lineage appears in the table alone."""

    line: int
    """1-based line of the manifest."""
    job_id: str
    state: JobState
    source: str
    """URI."""
    output: str
    """URI of the deliverable."""
    instruction: str
    editor: str
    weights: str
    deliverable: str
    start: int
    end: int
    """Half-open range of source frames."""
    seconds: float
    """Wall time from planned to its end."""
    size: int | None = None
    """Bytes of the deliverable; None when there is none."""
    already_delivered: bool = False
    """The deliverable was there, with the recorded digest, before this run."""
    shots: tuple[tuple[int, int], ...] = ()
    chunks: tuple[ReportChunk, ...] = ()
    pictures: tuple[ReportPicture, ...] = ()
    timings: tuple[ReportTiming, ...] = ()
    checks: tuple[Check, ...] = ()
    seams: tuple[ReportSeam, ...] = ()
    lineage: tuple[ReportFact, ...] = ()
    problem: ReportProblem | None = None
    project: str = ""
    notes: str = ""

    @property
    def frames(self) -> int:
        return self.end - self.start

    @property
    def detailed(self) -> bool:
        """Whether there is more to show than a row of the table."""
        return bool(self.pictures or self.chunks or self.checks or self.lineage or self.problem)

    def count(self, state: ChunkState) -> int:
        return sum(chunk.state == state for chunk in self.chunks)


@dataclass(frozen=True)
class ReportRow:
    """A row that stopped before it became a job: its source could not be read, for example."""

    line: int
    source: str
    """URI."""
    problem: ReportProblem


@dataclass(frozen=True)
class Report:
    """One run over one manifest."""

    manifest: str
    """Name of the manifest, for people."""
    manifest_id: str
    store: str
    """URI."""
    executor: str
    """Where chunks were edited, e.g. `local, 2 workers`."""
    version: str
    """Version of samaflow."""
    started: datetime
    seconds: float
    """Wall time of the run."""
    jobs: tuple[ReportJob, ...]
    row_errors: tuple[RowError, ...] = ()
    """Cells that are wrong; a row may have several."""
    stopped_rows: tuple[ReportRow, ...] = ()

    @property
    def delivered(self) -> tuple[ReportJob, ...]:
        return tuple(job for job in self.jobs if job.state == JobState.DELIVERED)

    @property
    def stopped(self) -> tuple[ReportJob, ...]:
        """The jobs that have a problem."""
        return tuple(job for job in self.jobs if job.problem is not None)

    def count(self, state: ChunkState) -> int:
        return sum(job.count(state) for job in self.jobs)


# -- what is drawn ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A box of the timeline in thousandths of its width; `lane` 0 is the row of shots."""

    x: float
    width: float
    lane: int
    kind: str
    label: str


def timeline(job: ReportJob) -> tuple[Bar, ...]:
    """The shots in lane 0; below them each chunk in the first lane where it overlaps no other."""

    def box(start: int, end: int, lane: int, kind: str, label: str) -> Bar:
        return Bar((start - job.start) * scale, (end - start) * scale, lane, kind, label)

    scale = 1000 / job.frames
    bars = [
        box(*shot, 0, "shot", f"Shot {number}: frames {shot[0]} to {shot[1] - 1}")
        for number, shot in enumerate(job.shots, start=1)
    ]
    ends: list[int] = []
    for chunk in sorted(job.chunks, key=lambda chunk: chunk.start):
        lane = next((lane for lane, end in enumerate(ends) if end <= chunk.start), len(ends))
        ends[lane : lane + 1] = [chunk.end]
        label = f"Frames {chunk.start} to {chunk.end - 1}, {chunk.state}" + padding_note(chunk.padding)
        bars.append(box(chunk.start, chunk.end, lane + 1, chunk.state, label))
    return tuple(bars)


def padding_note(padding: int) -> str:
    return f", last frame repeated {counted(padding, 'time')}" if padding else ""


@dataclass(frozen=True)
class ShotRow:
    """What became of one shot's chunks: the timeline in figures."""

    number: int
    """From 1, as people count."""
    first: int
    last: int
    """First and last source frame, both in the shot."""
    chunks: int
    states: dict[ChunkState, int]
    seconds: float
    """Wall seconds of the edits, added up."""


def shot_rows(job: ReportJob) -> tuple[ShotRow, ...]:
    """One row a shot, in order."""
    by_shot: list[list[ReportChunk]] = [[] for _ in job.shots]
    for chunk in job.chunks:
        by_shot[chunk.shot].append(chunk)
    return tuple(
        ShotRow(
            number,
            start,
            end - 1,
            len(chunks),
            {state: sum(chunk.state == state for chunk in chunks) for state in ChunkState},
            sum(chunk.seconds for chunk in chunks),
        )
        for number, ((start, end), chunks) in enumerate(zip(job.shots, by_shot, strict=True), start=1)
    )


@dataclass(frozen=True)
class Share:
    """One part of the time bar, in thousandths of its width."""

    name: str
    seconds: float
    x: float
    width: float


def shares(timings: Iterable[ReportTiming]) -> tuple[Share, ...]:
    """The parts one after the other, in the order given; parts without time have no width."""
    timings = tuple(timings)
    total = sum(timing.seconds for timing in timings) or 1.0
    parts, x = [], 0.0
    for timing in timings:
        width = 1000 * timing.seconds / total
        parts.append(Share(timing.name, timing.seconds, x, width))
        x += width
    return tuple(parts)


def frames_to_show(shots: tuple[tuple[int, int], ...], limit: int) -> tuple[tuple[int, int], ...]:
    """(shot, frame): the middle frame of every shot, or of `limit` shots spread evenly when there are more.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"at least one picture must be allowed, not {limit}")
    step = max(1.0, len(shots) / limit)
    chosen = [int(n * step) for n in range(min(limit, len(shots)))]
    return tuple((number, sum(shots[number]) // 2) for number in chosen)


# -- the page ---------------------------------------------------------------------------------------------------------


def render(report: Report) -> str:
    """The whole page as HTML.

    Raises:
        ValueError: a picture is neither JPEG nor PNG.
    """
    return _environment().get_template("report.html.jinja").render(report=report, ChunkState=ChunkState)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clipped": shortened,
        "counted": counted,
        "csp_hash": csp_hash,
        "data_uri": data_uri,
        "duration": duration,
        "expected": expected,
        "file_name": file_name,
        "found": found,
        "link": link,
        "megabytes": megabytes,
        "shares": shares,
        "shot_rows": shot_rows,
        "timeline": timeline,
    }
    return environment


def csp_hash(style: str) -> str:
    """The source expression that allows exactly this style sheet (Content Security Policy 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


_PICTURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


def data_uri(picture: bytes) -> str:
    """The picture as a `data:` URI.

    Raises:
        ValueError: neither JPEG nor PNG.
    """
    for magic, kind in _PICTURES.items():
        if picture.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
    raise ValueError(f"a report's picture must be JPEG or PNG, not bytes that begin with {picture[:4]!r}")


def link(uri: str) -> str:
    """The URI if a browser may open it from a report (`file:` alone), else nothing: other schemes show as text."""
    return uri if uri.startswith("file:") else ""


def file_name(uri: str) -> str:
    """The last part of a URI, as people write it."""
    return unquote(uri.rstrip("/").rsplit("/", 1)[-1])


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def expected(check: Check) -> str:
    """What a check compared with, in people's words: colours by name, digests by their beginning."""
    return _said(check.name, check.expected)


def found(check: Check) -> str:
    """What a check found; a digest that is the expected one is not spelled out again."""
    if check.passed and _DIGEST.fullmatch(check.found):
        return "identical"
    return _said(check.name, check.found)


_DIGEST = re.compile("[0-9a-f]{64}")


def _said(name: str, value: str) -> str:
    if _DIGEST.fullmatch(value):
        return f"sha256 {value[:16]}…"
    return _standard(value) if name.startswith("colour ") else value


def _standard(name: str) -> str:
    """`bt709 (1)` as `BT.709 (1)`, `smpte170m (6)` as `SMPTE 170M (6)`."""
    name = re.sub(r"^bt\.?", "BT.", name)
    return re.sub(r"^(smpte|iec)(\d+m?)", lambda match: f"{match[1]} {match[2]}".upper(), name)


def megabytes(size: int) -> str:
    """Bytes in decimal units: `840 kB`, `12.4 MB`, `3.1 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"
