"""The review page and a manifest's index as HTML: records in, one file with its own script and style out.

Knows no database, store or decoder. Instructions and names are untrusted: they show as text, and the page's policy lets
nothing run but its own script, by digest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edits.job import STRICT, EditJob, JobState
from edits.media.records import Check
from edits.wording import counted
from tasks.report import ReportFact, ReportSeam, csp_hash, duration, expected, file_name, found, megabytes

# -- records ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seam:
    """A chunk takes over from the one before it: a ramp of `length` frames from source frame `frame` on."""

    __pydantic_config__ = STRICT
    frame: int
    length: int


@dataclass(frozen=True)
class PageChunk:
    """One chunk on the timeline: `[start, end)` in source frames."""

    index: int
    shot: int
    start: int
    end: int
    lead: int
    padding: int
    seconds: tuple[tuple[str, float], ...]
    """Wall seconds by part; empty when the chunk is not edited yet."""
    device: str
    peak_memory_bytes: int

    @property
    def whole_seconds(self) -> float:
        return sum(seconds for _, seconds in self.seconds)


@dataclass(frozen=True)
class Contact:
    """A frame of the contact sheet, and the two pictures of it beside the page."""

    frame: int
    source: str
    result: str


@dataclass(frozen=True)
class Decided:
    """What somebody decided of a job."""

    job_id: str
    successor_id: str
    """The job that took its place; empty where none did."""
    verdict: str
    """`approved`, `rejected` or `changed`."""
    reviewer: str
    """As claimed."""
    reason: str
    changes: str
    at: datetime
    shown: frozenset[str] = frozenset()
    """Those of the two jobs that have a page."""


@dataclass(frozen=True)
class ReviewPage:
    """One job's page."""

    job: EditJob
    state: JobState
    kind: str
    """`deliverable`, `first_chunks` or `few_steps`."""
    spans: tuple[tuple[int, int], ...]
    """Source frames that the copy shows, in order."""
    width: int
    height: int
    below: bool
    """Size of one part of the copy, and whether the result lies below the source."""
    rate: Fraction | None
    times: tuple[float, ...]
    shots: tuple[tuple[int, int], ...]
    chunks: tuple[PageChunk, ...]
    seams: tuple[Seam, ...]
    contacts: tuple[Contact, ...]
    checks: tuple[Check, ...]
    timings: tuple[tuple[str, float], ...]
    lineage: tuple[ReportFact, ...]
    problem: str
    measured: tuple[ReportSeam, ...] = ()
    """What the seams are worth; of very many only some are measured."""
    masked: bool = False
    """Whether the copy shows the mask of every frame, after source and result."""
    decisions: tuple[Decided, ...] = ()
    """Of this job, oldest first."""
    before: Decided | None = None
    """The change that put this job in the place of another."""

    @property
    def frames(self) -> int:
        """Frames of the copy."""
        return sum(end - start for start, end in self.spans)

    def seconds_of(self, frame: int) -> float:
        """When the copy shows a source frame."""
        place = 0
        for start, end in self.spans:
            if start <= frame < end:
                place += frame - start
                break
            place += end - start
        return self.times[place] if self.rate is None else float(place / self.rate)


@dataclass(frozen=True)
class Card:
    """A job on a manifest's index."""

    job: EditJob
    state: JobState
    message: str
    failed_checks: int
    checks: int
    pictures: tuple[str, str] | None
    """Names of a picture of the source and of the result in the job's report folder; None without a review copy."""


@dataclass(frozen=True)
class ReviewIndex:
    """A manifest's page."""

    manifest: str
    manifest_id: str
    cards: tuple[Card, ...]
    root: str = "../../"
    """From the page to the store's root."""

    def count(self, state: JobState) -> int:
        return sum(card.state == state for card in self.cards)


# -- the pages --------------------------------------------------------------------------------------------------------


def render(page: ReviewPage) -> str:
    """A job's page as HTML; `review.mp4` and the contact sheet's pictures lie beside it."""
    return _environment().get_template("review.html.jinja").render(page=page, JobState=JobState)


def render_index(index: ReviewIndex) -> str:
    """A manifest's page as HTML, in a folder beside the jobs' folder."""
    return _environment().get_template("review_index.html.jinja").render(index=index, JobState=JobState)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "counted": counted,
        "csp_hash": csp_hash,
        "duration": duration,
        "expected": expected,
        "facts": facts,
        "file_name": file_name,
        "found": found,
        "lanes": lanes,
        "megabytes": megabytes,
    }
    return environment


def clock(seconds: float) -> str:
    """`0:05.25`, `1:02:05.00`."""
    whole, hundredths = divmod(round(seconds * 100), 100)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else str(minutes)
    return f"{head}:{rest:02}.{hundredths:02}"


def lanes(chunks: tuple[PageChunk, ...]) -> tuple[tuple[PageChunk, int], ...]:
    """Each chunk with the first lane in which it overlaps no other."""
    ends: list[int] = []
    placed = []
    for chunk in sorted(chunks, key=lambda chunk: chunk.start):
        lane = next((lane for lane, end in enumerate(ends) if end <= chunk.start), len(ends))
        ends[lane : lane + 1] = [chunk.end]
        placed.append((chunk, lane))
    return tuple(placed)


def facts(page: ReviewPage) -> Markup:
    """What the script needs, as JSON that no reader of HTML takes for markup."""
    rate = None if page.rate is None else [page.rate.numerator, page.rate.denominator]
    data = {
        "spans": page.spans,
        "rate": rate,
        "times": page.times,
        "width": page.width,
        "height": page.height,
        "below": page.below,
        "masked": page.masked,
        "shots": page.shots,
        "seams": [[seam.frame, seam.length] for seam in page.seams],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
