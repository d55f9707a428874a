"""Reading a deliverable back, whole, and holding it against what was asked for. Writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from edits.errors import SourceError, VerificationError
from edits.keys import sha256_of
from edits.media.audio import StreamSum, span_of, summed
from edits.media.beside import carried_streams, kept_chapters, kept_metadata
from edits.media.boxes import steps_of
from edits.media.colour import CODES, Tags, named, tags_of
from edits.media.deliverables import REELS, deliverable_for
from edits.media.faults import Faults, listed
from edits.media.formats import base_name
from edits.media.index import tag_of
from edits.media.marks import Mark, Marking, digest_of, marks_path, read_marks
from edits.media.picture import mastering_of, tags_in
from edits.media.pictures import FIRST, SUFFIX
from edits.media.reader import Source, opened_deliverable, source_of
from edits.media.records import Check, Progress, StitchRequest, Verification
from edits.media.structure import shortfall
from edits.timecode import timecode_of

_MKV_TICK = Fraction(1, 1000)


def verify(request: StitchRequest, progress: Progress) -> Verification:
    """Decode the deliverable of `request` and compare it with the source's index and audio.

    A check that fails is a record, not an exception: the caller decides what becomes of the file.

    Raises:
        VerificationError: the file cannot be opened as video at all, or has no frames.
        SourceError: the source, whose audio is read again, cannot be read.
    """
    path = Path(request.output)
    span = span_of(request.index, request.start, request.end)
    with (
        ThreadPoolExecutor(2) as pool,
        source_of(request.source, request.index) as source,
        _reopened(request) as result,
    ):
        chapters = kept_chapters(source, span)
        metadata = kept_metadata(source)
        sha256, beside = pool.submit(sha256_of, path), pool.submit(summed, source, carried_streams(request), span)
        found = _Found(result, _Compared(request), request.end - request.start, progress)
        checks = (
            *_whole(path, found),
            *_pictures(request, found),
            *_times(request, found),
            *_colours(request, found),
            *_beside(request, found, beside.result()),
            *_words(found, chapters, metadata),
            *_looks(request, found),
        )
        return Verification(
            checks=checks,
            streams=tuple(entry.digest() for entry in found.sums.values()),
            sha256=sha256.result(),
            size=path.stat().st_size,
            frames=len(found.pts),
            duration=found.duration,
            encoding=deliverable_for(request.deliverable, request.index).recipe(
                request.index, request.encoder_threads, request.end - request.start
            ),
        )


@contextlib.contextmanager
def _reopened(request: StitchRequest) -> Iterator[Source]:
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(opened_deliverable(request.output, request.index))
        except SourceError as error:
            raise VerificationError(f"the deliverable cannot be read back: {error}") from error
        yield source


class _Found:
    """What the file turns out to hold, by one decode."""

    def __init__(self, result: Source, compared: _Compared, total: int, progress: Progress) -> None:
        self.result = result
        self.compared = compared
        self.pts: list[int] = []
        self.damage = ""
        self.sums = {stream.index: StreamSum(stream) for stream in result.container.streams}
        self._last = 0
        try:
            for frame in result.frames(self._note):
                if not self.pts:
                    self._describe(frame)
                self.pts.append(frame.pts or 0)
                self._last = frame.duration or 0
                compared.add(frame)
                progress(len(self.pts), total)
        except SourceError as error:
            self.damage = str(error)
        if not self.pts:
            raise VerificationError(
                f"{result.path}: no frame of the deliverable can be read back. {self.damage}".rstrip()
            )

    def _note(self, packet: av.Packet[Any]) -> None:
        if packet.size:
            self.sums[packet.stream_index].add(packet)

    def _describe(self, frame: av.VideoFrame) -> None:
        self.size = f"{frame.width} x {frame.height}"
        self.pixel_format = base_name(frame.format.name)
        self.tags = tags_in(frame, self.result.stream.codec_context)
        self.grading = mastering_of(frame)

    @property
    def time_base(self) -> Fraction:
        assert self.result.stream.time_base is not None
        return self.result.stream.time_base

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last. Matroska keeps the end in a tag, not on the frame."""
        start, end = self.pts[0], self.pts[-1] + self._last
        stated = self.result.stream.metadata.get("DURATION")
        return (_seconds(stated) if stated else end * self.time_base) - start * self.time_base

    @property
    def ratio(self) -> Fraction:
        ratio = self.result.stream.sample_aspect_ratio
        return Fraction(ratio) if ratio else Fraction(1)


class _Compared:
    """The deliverable's pictures against the marks that were noted while it was stitched, if any were."""

    def __init__(self, request: StitchRequest) -> None:
        entry, path = deliverable_for(request.deliverable, request.index), marks_path(request.output)
        self.faults = Faults()
        self.worst_edited = self.worst_untouched = _NOTHING
        self.unequal: int | None = None
        """First frame whose planes are not those that were encoded without loss."""
        self.noted = path.exists()
        self._marking = Marking(entry.read_format(request.index), entry.colour(request.index))
        self._marks = read_marks(path) if self.noted else iter(())
        self._lossless = entry.lossless
        self._edited = range(request.edited_range[0] - request.start, request.edited_range[1] - request.start)
        self._number = 0

    def add(self, frame: av.VideoFrame) -> None:
        noted = next(self._marks, None)
        if noted is None:
            return
        found = self._marking.mark(frame)
        if self._number in self._edited:
            self.worst_edited = max(self.worst_edited, _Apart(_distance(found, noted.stitched), self._number))
        else:
            self.worst_untouched = max(self.worst_untouched, _Apart(_distance(found, noted.source), self._number))
        if self._lossless and self.unequal is None and digest_of(frame) != noted.digest:
            self.unequal = self._number
        self.faults.add(found, noted.source)
        self._number += 1


def _distance(one: Mark, other: Mark) -> float:
    return float(np.abs(one - other).mean())


@dataclass(frozen=True, order=True)
class _Apart:
    """By how much two pictures differ, in mean levels of 8 bits, and which."""

    levels: float
    frame: int


_NOTHING = _Apart(0.0, 0)
_LOSSY = 2.0
"""Mean levels of 8 bits by which a lossy encoder may move a picture's small grid of means."""


def _seconds(clock: str) -> Fraction:
    """`HH:MM:SS.fffffffff` of a Matroska tag."""
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)


# -- comparing --------------------------------------------------------------------------------------------------------


def _check(name: str, expected: object, found: object) -> Check:
    return Check(name, expected == found, str(expected), str(found))


def _near(name: str, expected: Fraction, found: Fraction, tolerance: Fraction) -> Check:
    return Check(name, abs(expected - found) <= tolerance, f"{float(expected):.6f} s", f"{float(found):.6f} s")


def _whole(path: Path, found: _Found) -> Iterator[Check]:
    if path.suffix != SUFFIX:  # An archive was held against its checksums when it was unpacked.
        yield _check("file is whole", "as long as it says", shortfall(path) or "as long as it says")
    yield _check("decodes", "without damage", found.damage or "without damage")


def _pictures(request: StitchRequest, found: _Found) -> Iterator[Check]:
    index, entry = request.index, deliverable_for(request.deliverable, request.index)
    yield _check("picture size", f"{index.width} x {index.height}", found.size)
    yield _check("pixel format", entry.read_format(index), found.pixel_format)
    yield _check("sample aspect ratio", index.sample_aspect_ratio, found.ratio)


def _times(request: StitchRequest, found: _Found) -> Iterator[Check]:
    index = request.index
    wanted = index.pts[request.start : request.end]
    yield _check("frame count", len(wanted), len(found.pts))
    if found.result.sequence is not None:
        yield _check("first picture", FIRST, found.result.sequence.first)
        return
    yield _check("timestamps", "equal to the source's", _first_difference(wanted, index.time_base, found))
    span = span_of(index, request.start, request.end)
    yield _near("duration", span.end - span.start, found.duration, _tick(request, found))
    timecode = timecode_of(index, request.start)
    if timecode is not None:
        yield _check("start timecode", timecode, tag_of(found.result.container, "timecode"))
        if index.reel and request.output.endswith(REELS):
            yield _check("reel", index.reel, tag_of(found.result.container, "reel_name"))


def _first_difference(wanted: tuple[int, ...], base: Fraction, found: _Found) -> str:
    """Compare as fractions after the first frame."""
    for number, (source, result) in enumerate(zip(wanted, found.pts, strict=False)):
        expected, actual = (source - wanted[0]) * base, (result - found.pts[0]) * found.time_base
        if expected != actual:
            return f"frame {number} at {actual} s instead of {expected} s"
    return "equal to the source's"


def _tick(request: StitchRequest, found: _Found) -> Fraction:
    """The coarsest step in which the container keeps times."""
    return max(_MKV_TICK if request.output.endswith(".mkv") else Fraction(0), found.time_base)


def _colours(request: StitchRequest, found: _Found) -> Iterator[Check]:
    wanted: Tags = tags_of(deliverable_for(request.deliverable, request.index).colour(request.index))
    for name in CODES:
        yield _check(f"colour {name}", named(name, getattr(wanted, name)), named(name, getattr(found.tags, name)))
    if request.index.mastering:
        stated = None if found.grading is None else steps_of(found.grading)
        yield _check("HDR metadata", steps_of(request.index.mastering), stated)


def _beside(request: StitchRequest, found: _Found, wanted: tuple[StreamSum, ...]) -> Iterator[Check]:
    streams = found.result.container.streams
    for kind, results in (("audio", streams.audio), ("subtitle", streams.subtitles)):
        of_kind = [entry for entry in wanted if entry.kind == kind]
        yield _check(f"{kind} streams", len(of_kind), len(results))
        for number, (source, stream) in enumerate(zip(of_kind, results, strict=False)):
            yield from _copied(f"{kind} {number}", source, found.sums[stream.index], request, found)


def _copied(name: str, source: StreamSum, result: StreamSum, request: StitchRequest, found: _Found) -> Iterator[Check]:
    yield _check(f"{name} packets", source.digest().sha256, result.digest().sha256)
    yield _check(f"{name} language", _language(source), _language(result))
    if source.start is not None and result.start is not None:
        span = span_of(request.index, request.start, request.end)
        expected = source.start - (span.start - span.shift)
        start = result.start - found.pts[0] * found.time_base
        yield _near(f"{name} start", expected, start, 2 * _tick(request, found))


def _words(found: _Found, chapters: list[Any], metadata: dict[str, str]) -> Iterator[Check]:
    """Chapters and tags; a container that has no place for a tag leaves it out, but never changes it."""
    if chapters:
        yield _check("chapters", _titles(chapters), _titles(found.result.container.chapters()))
    kept = kept_metadata(found.result)
    changed = [name for name, value in kept.items() if metadata.get(name, value) != value]
    yield _check("tags", "as in the source", f"{', '.join(changed)} changed" if changed else "as in the source")


def _looks(request: StitchRequest, found: _Found) -> Iterator[Check]:
    """What the pictures show."""
    compared = found.compared
    if not compared.noted:
        return
    yield _close("pictures as stitched", compared.worst_edited)
    if request.edited_range != (request.start, request.end):
        yield _close("untouched pictures as in the source", compared.worst_untouched)
    if deliverable_for(request.deliverable, request.index).lossless:
        apart = "equal" if compared.unequal is None else f"another picture at frame {compared.unequal}"
        yield _check("pictures bit for bit", "equal", apart)
    faults = compared.faults
    for name, runs in (("black", faults.black), ("frozen", faults.frozen), ("flashing", faults.flashes)):
        yield _check(f"no {name} pictures", _NONE, listed(runs) if runs else _NONE)


_NONE = "none that the source has not"


def _close(name: str, worst: _Apart) -> Check:
    found = f"{worst.levels:.2f} levels at frame {worst.frame}"
    return Check(name, worst.levels <= _LOSSY, f"at most {_LOSSY:g} levels apart", found)


def _titles(chapters: list[Any]) -> str:
    return "; ".join(
        f"{chapter['metadata'].get('title', '')} at {float(chapter['start'] * Fraction(chapter['time_base'])):.3f} s"
        for chapter in chapters
    )


def _language(stream: StreamSum) -> str:
    """`und` is how containers write that nothing is said."""
    return stream.language if stream.language != "und" else ""
