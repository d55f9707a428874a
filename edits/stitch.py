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
from edits.media.detail import Enlarger, Restorer, mixed, mixed_pictures
from edits.media.encode import Writer
from edits.media.formats import Plane
from edits.media.reader import Source, indexed_frames
from edits.media.reading import Changes, ChunkFile, changes_of
from edits.media.records import Progress, StitchChunk, StitchRequest
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
    with ExitStack() as stack:
        source = stack.enter_context(Source(Path(request.source)))
        writer = stack.enter_context(Writer(request))
        originals = stack.enter_context(Ahead(_range(source, request)))
        middle = _changes(core, plan, detail, itertools.islice(originals, core.end - core.start))
        changes = stack.enter_context(Ahead(_with_ends(request, originals, middle)))
        frames = stack.enter_context(
            Ahead((original, _composed(detail, original, change)) for original, change in changes)
        )
        stills = Stills(request)
        for number, (original, edited) in enumerate(frames, request.start):
            writer.write(edited, number)
            stills.note(number, original, edited)
            progress(number + 1 - request.start, request.end - request.start)


_UNTOUCHED = object()
"""In the place of a change: the frame lies outside what is edited."""


def _with_ends(
    request: StitchRequest, originals: Iterator[av.VideoFrame], middle: Iterator[tuple[av.VideoFrame, Any]]
) -> Iterator[tuple[av.VideoFrame, Any]]:
    """The frames before the edited range, those of it (which `middle` takes from `originals` too), those after it."""
    for original in itertools.islice(originals, request.edited_range[0] - request.start):
        yield original, _UNTOUCHED
    yield from middle
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
) -> Iterator[tuple[av.VideoFrame, Any]]:
    """Each frame of the range with what `detail` makes of the chunks that have a part in it."""
    readings: dict[int, _Reading] = {}
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
                    readings[place] = detail.open(request.chunks[place])
            yield original, detail.mix(original, number, [(readings[place], weight) for place, weight in parts])
        for reading in readings.values():
            reading.finish()


def _reaching(plan: Sequence[Takeover], first: int, number: int) -> list[Takeover]:
    """Takeovers from place `first` on that have begun by frame `number`: two or three."""
    return list(itertools.takewhile(lambda takeover: takeover.start <= number, itertools.islice(plan, first, None)))


def _close_all(readings: dict[int, _Reading]) -> None:
    for reading in readings.values():
        reading.close()


# -- the two kinds of detail ------------------------------------------------------------------------------------------


class _Detail(Protocol):
    """How edited chunks become frames at the source's size."""

    def open(self, chunk: StitchChunk) -> Any:
        """A reading of a chunk."""

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[Any, float]]) -> Any:
        """The weighted mean of what the open chunks hold for frame `number`."""

    def compose(self, original: av.VideoFrame, change: Any) -> av.VideoFrame:
        """The finished frame in the source's pixel format."""


class _Restoring:
    """`full`: the source's own planes plus the resized difference between a chunk's output and input."""

    def __init__(self, request: StitchRequest) -> None:
        self._restorer = Restorer(request.index)
        window = request.chunks[0].window
        with ChunkReader(Path(request.chunks[0].input)) as reader:
            self._squeezer = Squeezer(request.index, *(window[2:] if window else reader.size))

    def open(self, chunk: StitchChunk) -> Changes:
        return changes_of(chunk)

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[Changes, float]]) -> Sequence[Plane] | None:
        squeezed = cache(lambda: self._squeezer.rgb(original))
        change = mixed([(part.at(number, squeezed), weight) for part, weight in parts])
        return None if change is None else self._restorer.yuv(change, squeezed)

    def compose(self, original: av.VideoFrame, change: Sequence[Plane] | None) -> av.VideoFrame:
        return self._restorer.apply(original, change)


class _Enlarging:
    """`upscale`: the edited picture itself, enlarged."""

    def __init__(self, request: StitchRequest) -> None:
        self._enlarger = Enlarger(request.index)

    def open(self, chunk: StitchChunk) -> ChunkFile:
        return ChunkFile(chunk.output, chunk)

    def mix(self, original: av.VideoFrame, number: int, parts: list[tuple[ChunkFile, float]]) -> Plane:
        return mixed_pictures([(part.at(number), weight) for part, weight in parts])

    def compose(self, original: av.VideoFrame, change: Plane) -> av.VideoFrame:
        return self._enlarger.frame(change)


_DETAILS: dict[str, Callable[[StitchRequest], _Detail]] = {"full": _Restoring, "upscale": _Enlarging}
"""A row's `detail`."""
