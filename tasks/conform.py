"""A cut whose clips were edited, with the deliverables back in their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sql
from edits.errors import CellError, ManifestError, OutputError
from edits.job import EditJob, JobState
from edits.media.records import FrameIndex
from edits.timecode import end_frame, nominal_rate, parse_position, start_frame, timecode_at, timecode_of, written
from edits.timeline.clip import Clip, media_of
from edits.timeline.cut import OTIO_SUFFIXES, edl_text, read_cut
from edits.timeline.edl import Replacement, conformed
from edits.timeline.otio import Media, conform_otio
from edits.trust import file_uri, readable
from tasks.intake import index_of
from tasks.run import Run

MAX_JOBS = 100_000


@dataclass(frozen=True)
class Placed:
    """A clip of the cut and the job whose deliverable takes its place."""

    clip: Clip
    job: EditJob
    index: FrameIndex
    first: int
    """Source frame at which the clip begins."""
    end: int

    @property
    def delivered_from(self) -> int:
        """Source frame that is the deliverable's first."""
        return 0 if self.job.scope == "full" else self.job.start

    @property
    def delivered_frames(self) -> int:
        return self.index.frames if self.job.scope == "full" else self.job.end - self.job.start


def conform(run: Run, cut: Path, target: Path, folder: Path | None) -> tuple[Placed, ...]:
    """Write `cut` to `target` with each clip replaced whose very frames were delivered; the newest delivery counts.

    Raises:
        ManifestError: the cut cannot be read, a clip's media is not found, or the clip uses frames that it has not.
        OutputError: `target` is of another kind than `cut`, or stands there already.
    """
    kinds = [
        OTIO_SUFFIXES if path.suffix.lower() in OTIO_SUFFIXES else (path.suffix.lower(),) for path in (cut, target)
    ]
    if kinds[0] != kinds[1]:
        raise OutputError(f"{target}: a cut is written as it was read: end it in {cut.suffix}")
    if target.exists():
        raise OutputError(f"{target}: a file is there already; give another name")
    placed = tuple(_placed(run, cut, folder))
    if cut.suffix.lower() == ".edl":
        text = conformed(edl_text(cut), {part.clip.place: _replacement(part) for part in placed})
        target.write_text(text, encoding="utf-8")
    else:
        conform_otio(cut, target, {part.clip.place: _media(part) for part in placed})
    return placed


def _placed(run: Run, cut: Path, folder: Path | None) -> Iterator[Placed]:
    delivered = [record.job for record in sql.jobs(run.db, states=(JobState.DELIVERED,), limit=MAX_JOBS)]
    noted = [clip for clip in read_cut(cut) if clip.instruction]
    for clip, source in zip(noted, media_of(noted, cut.parent, folder), strict=True):
        uri = file_uri(source.resolve())
        run.board.add(clip.number, clip.name)
        index = index_of(run, uri, clip.number)
        first, end = _frames(clip, index)
        job = next((job for job in delivered if job.source == uri and _range(job) == (first, end)), None)
        if job is not None:
            yield Placed(clip, job, index, first, end)


def _frames(clip: Clip, index: FrameIndex) -> tuple[int, int]:
    """The source's frames that the clip uses.

    Raises:
        ManifestError: they do not lie on the source.
    """
    try:
        return start_frame(parse_position(clip.start), index), end_frame(parse_position(clip.end), index)
    except CellError as error:
        raise ManifestError(f"clip {clip.number} uses {clip.name} from {clip.start} to {clip.end}: {error}") from error


def _range(job: EditJob) -> tuple[int, int]:
    """The frames that the row named, without handles."""
    return job.start + job.handles, job.end - job.handles


def _replacement(part: Placed) -> Replacement:
    """Where the source has timecode the deliverable goes on with it; else it counts from zero."""
    path = readable(part.job.output)
    if timecode_of(part.index, part.first) is not None or part.index.rate is None:
        return Replacement(Path(path).name, path)
    nominal = nominal_rate(part.index.rate) or round(part.index.rate)
    start, end = (written(timecode_at(frame - part.delivered_from, nominal, False)) for frame in (part.first, part.end))
    return Replacement(Path(path).name, path, start, end)


def _media(part: Placed) -> Media:
    rate = part.index.rate or 1 / part.index.time_base
    first = part.first - part.delivered_from
    return Media(Path(readable(part.job.output)).name, part.job.output, first, part.delivered_frames, rate)
