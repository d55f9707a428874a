"""From source and edited chunks to a deliverable, in one sequential pass with a few frames in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import av

from edits.errors import VerificationError
from edits.media.ahead import Ahead
from edits.media.blend import Takeover, shares, takeovers
from edits.media.chunkfile import ChunkReader
from edits.media.detail import Edit, Enlarger, Layers, Map, Restorer, mixed, mixed_pictures
from edits.media.encode import Writer
from edits.media.formats import Plane
from edits.media.levels import Levels
from edits.media.marks import MarksWriter
from edits.media.mask import METHODS
from edits.media.maskfile import Masks
from edits.media.overlaps import levels_of
from edits.media.reader import Source, indexed_frames, source_of
from edits.media.reading import Changes, Pictures, changes_of
from edits.media.records import Progress, StitchChunk, StitchRequest
from edits.media.samples import Samples, seams_of
from edits.media.split import Squeezer
from edits.media.still import Stills


def stitch(request: StitchRequest, progress: Progress) -> None:
    """Write the deliverable of `request`: trim padding, blend overlaps, put detail back, encode, carry the audio.

    The file appears under its name when it is whole. Memory does not depend on the video's length. Reading the source,
    reading the chunks, mixing and encoding overlap in threads.

    Raises:
        SourceError: the source is damaged, or not the one that was indexed.
        VerificationError: a chunk file that is missing, damaged, or of another length than planned; a gap in coverage.
        OutputError, StoreError: the deliverable cannot be written, or its container cannot hold the source.
        ValueError: an unknown `detail`.
    """
    if request.detail not in _DETAILS:
        raise ValueError(f"detail '{request.detail}' is not known; {', '.join(_DETAILS)} are")
    core = replace(request, start=request.edited_range[0], end=request.edited_range[1])
    plan = takeovers(core.chunks, core.start, core.end, core.blend)
    _require_files(request)
    detail = _DETAILS[request.detail](core)
    seams = seams_of(plan, [chunk.shot for chunk in request.chunks])
    with ExitStack() as stack:
        source = stack.enter_context(source_of(request.source, request.index))
        # Before the writer, so that they go too when it fails in its last moment.
        samples = stack.enter_context(Samples(request, seams))
        marks = stack.enter_context(MarksWriter(request))
        writer = stack.enter_context(Writer(request))
        originals = stack.enter_context(Ahead(_range(source, request)))
        middle = detail.settle(_changes(core, plan, detail, itertools.islice(originals, core.end - core.start)))
        changes = stack.enter_context(Ahead(_with_ends(request, originals, middle)))
        frames = stack.enter_context(
            Ahead((original, _composed(detail, original, change)) for original, change in changes)
        )
        stills = Stills(request)
        for number, (original, edited) in enumerate(frames, request.start):
            marks.note(original, writer.write(edited, number))
            stills.note(number, original, edited)
            samples.note(number, original, edited)
            progress(number + 1 - request.start, request.end - request.start)


_UNTOUCHED = object()
"""In the place of a change: the frame lies outside what is edited."""


def _with_ends(
    request: StitchRequest, originals: Iterator[av.VideoFrame], middle: Iterator[Edited]
) -> Iterator[tuple[av.VideoFrame, Any]]:
    """The frames before the edited range, those of it (which `middle` takes from `originals` too), those after it."""
    for original in itertools.islice(originals, request.edited_range[0] - request.start):
        yield original, _UNTOUCHED
    for _, original, change in middle:
        yield original, change
    for original in originals:
        yield original, _UNTOUCHED


def _composed(detail: _Detail, original: av.VideoFrame, change: Any) -> av.VideoFrame:
    return original if change is _UNTOUCHED else detail.compose(original, change)


def _range(source: Source, request: StitchRequest) -> Iterator[av.VideoFrame]:
    return itertools.islice(indexed_frames(source, request.index), request.start, request.end)


def _require_files(request: StitchRequest) -> None:
    """Fail before the first frame rather than in the middle."""
    for chunk in request.chunks:
        for path in (chunk.input, chunk.output):
            if not Path(path).is_file():
                raise VerificationError(
                    f"{path}: not there, and frames {chunk.start} to {chunk.end - 1} need it; run the edit again"
                )


# -- what the chunks hold ---------------------------------------------------------------------------------------------


class _Reading(Protocol):
    """A chunk that is open."""

    def finish(self) -> None: ...

    def close(self) -> None: ...


def _changes(
    request: StitchRequest, plan: Sequence[Takeover], detail: _Detail, originals: Iterator[av.VideoFrame]
) -> Iterator[Edited]:
    """Each frame of the range with what `detail` makes of the chunks that have a part in it."""
    readings: dict[int, _Reading] = {}
    levels = _ShotLevels(request.chunks)
    first = 0
    with ExitStack() as stack:
        stack.callback(_close_all, readings)
        for number, original in enumerate(originals, request.start):
            while plan[first].end <= number:
                first += 1
            parts = shares(_reaching(plan, first, number), number)
            for place in readings.keys() - {place for place, _ in parts}:
                readings.pop(place).finish()
            for place, _ in parts:
                if place not in readings:
                    readings[place] = detail.open(request.chunks[place], levels.of(place))
            yield number, original, detail.mix(original, number, [(readings[place], weight) for place, weight in parts])
        for reading in readings.values():
            reading.finish()


class _ShotLevels:
    """What makes the chunks of a shot agree, found out when the shot is come to."""

    def __init__(self, chunks: Sequence[StitchChunk]) -> None:
        self._chunks = chunks
        self._first = 0
        self._levels: tuple[Levels, ...] | None = None
        self._shot: int | None = None

    def of(self, place: int) -> Levels | None:
        """The levels of the chunk at that place; None where its shot's overlaps agree exactly."""
        shot = self._chunks[place].shot
        if shot != self._shot:
            self._shot = shot
            places = [other for other, chunk in enumerate(self._chunks) if chunk.shot == shot]
            self._first = places[0]
            self._levels = levels_of([self._chunks[other] for other in places])
        return None if self._levels is None else self._levels[place - self._first]


def _reaching(plan: Sequence[Takeover], first: int, number: int) -> list[Takeover]:
    """Takeovers from place `first` on that have begun by frame `number`: two or three."""
    return list(itertools.takewhile(lambda takeover: takeover.start <= number, itertools.islice(plan, first, None)))


def _close_all(readings: dict[int, _Reading]) -> None:
    for reading in readings.values():
        reading.close()


# -- kinds of detail --------------------------------------------------------------------------------------------------

Edited = tuple[int, av.VideoFrame, Any]
"""A frame's number, the frame, and what a kind of detail makes of the chunks."""


class _Detail(Protocol):
    """How edited chunks become frames at the source's size."""

    def open(self, chunk: StitchChunk, levels: Levels | None) -> Any:
        """A reading of a chunk."""

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[Any, float]]) -> Any:
        """The weighted mean of what the open chunks hold for frame `number`."""

    def settle(self, frames: Iterator[Edited]) -> Iterator[Edited]:
        """The same frames, with what can only be said when later ones are known."""

    def compose(self, original: av.VideoFrame, change: Any) -> av.VideoFrame:
        """The finished frame in the source's pixel format."""


class _Masking:
    """`full` and `tone`: the edited picture where a mask says so, else the source and what `outside` adds to it."""

    def __init__(self, request: StitchRequest) -> None:
        self._restorer = Restorer(request.index)
        window = request.chunks[0].window
        with ChunkReader(Path(request.chunks[0].input)) as reader:
            size = window[2:] if window else reader.size
        self._squeezer = Squeezer(request.index, *size)
        self._masks = Masks(request, size)
        self._method = METHODS[request.detail]
        self._given = request.mask is not None
        self._deeper = request.index.bit_depth > 8

    def open(self, chunk: StitchChunk, levels: Levels | None) -> Changes:
        return changes_of(chunk, levels)

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[Changes, float]]) -> Edit | None:
        squeezed = cache(lambda: self._squeezer.rgb(original))
        return mixed([(part.at(number, squeezed), weight) for part, weight in parts])

    def settle(self, frames: Iterator[Edited]) -> Iterator[Edited]:
        for number, original, edit, mask in self._masks.over(frames):
            yield number, original, self._layers(original, edit, mask)

    def _layers(self, original: av.VideoFrame, edit: Edit | None, mask: Map | None) -> Layers:
        if edit is None:
            return Layers(None)
        outside = self._method.outside(edit, mask, self._given)
        added = None if outside is None else self._restorer.added(outside)
        if mask is None:
            return Layers(added)
        return Layers(added, self._restorer.picture(self._fine(original, edit)), mask)

    def _fine(self, original: av.VideoFrame, edit: Edit) -> Edit:
        """Of a deeper source that an editor of 8 bits changed: with what those 8 bits could not hold of it."""
        if not self._deeper or edit.deep:
            return edit
        return replace(edit, source=edit.source + self._squeezer.rounded_off(original))

    def compose(self, original: av.VideoFrame, change: Layers) -> av.VideoFrame:
        return self._restorer.apply(original, change)


class _Enlarging:
    """`upscale`: the edited picture itself, enlarged."""

    def __init__(self, request: StitchRequest) -> None:
        self._enlarger = Enlarger(request.index)

    def open(self, chunk: StitchChunk, levels: Levels | None) -> Pictures:
        return Pictures(chunk, levels)

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[Pictures, float]]) -> Plane:
        return mixed_pictures([(part.at(number), weight) for part, weight in parts])

    def settle(self, frames: Iterator[Edited]) -> Iterator[Edited]:
        return frames

    def compose(self, original: av.VideoFrame, change: Plane) -> av.VideoFrame:
        return self._enlarger.frame(change)


_DETAILS: dict[str, Callable[[StitchRequest], _Detail]] = {
    "full": _Masking,
    "tone": _Masking,
    "upscale": _Enlarging,
}
"""A row's `detail`."""
