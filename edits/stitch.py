"""From source and edited chunks to a deliverable, in one sequential pass with a few frames in memory."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Protocol

import av

from edits.errors import VerificationError
from edits.media.ahead import Ahead
from edits.media.blend import Takeover, shares, takeovers
from edits.media.chunkfile import ChunkReader, Rgb
from edits.media.detail import Difference, Enlarger, Restorer, difference, mixed, mixed_pictures
from edits.media.encode import Writer
from edits.media.reader import Source, indexed_frames
from edits.media.records import Progress, StitchChunk, StitchRequest


def stitch(request: StitchRequest, progress: Progress) -> None:
    """Write the deliverable of `request`: trim padding, blend overlaps, put detail back, encode, carry the audio.

    The file appears under its name when it is whole. Memory does not depend on the video's length.

    Raises:
        SourceError: the source is damaged, or not the one that was indexed.
        VerificationError: a chunk file that is missing, damaged, or of another length than planned; a gap in coverage.
        OutputError, StoreError: the deliverable cannot be written, or its container cannot hold the source.
        ValueError: an unknown `detail`.
    """
    if request.detail not in _DETAILS:
        raise ValueError(f"detail '{request.detail}' is not known; {', '.join(_DETAILS)} are")
    plan = takeovers(request.chunks, request.start, request.end, request.blend)
    _require_files(request)
    detail = _DETAILS[request.detail](request)
    with ExitStack() as stack:
        source = stack.enter_context(Source(Path(request.source)))
        writer = stack.enter_context(Writer(request))
        originals = islice(indexed_frames(source, request.index), request.start, request.end)
        changes = stack.enter_context(Ahead(_changes(request, plan, detail)))
        frames = stack.enter_context(Ahead(map(detail.compose, originals, changes)))
        for number, frame in enumerate(frames, request.start):
            writer.write(frame, number)
            progress(number + 1 - request.start, request.end - request.start)


def _require_files(request: StitchRequest) -> None:
    """Fail before the first frame rather than in the middle."""
    for chunk in request.chunks:
        for path in (chunk.input, chunk.output):
            if not Path(path).is_file():
                raise VerificationError(
                    f"{path}: not there, and frames {chunk.start} to {chunk.end - 1} need it; run the edit again"
                )


# -- what the chunks hold ---------------------------------------------------------------------------------------------


def _changes(request: StitchRequest, plan: Sequence[Takeover], detail: _Detail) -> Iterator[Any]:
    """For each frame of the range, what `detail` makes of the chunks that have a part in it."""
    readings: dict[int, _Reading] = {}
    with ExitStack() as stack:
        stack.callback(_close_all, readings)
        first = 0
        for frame in range(request.start, request.end):
            while plan[first].end <= frame:
                first += 1
            parts = shares(_reaching(plan, first, frame), frame)
            for place in readings.keys() - {place for place, _ in parts}:
                readings.pop(place).close()
            for place, _ in parts:
                if place not in readings:
                    readings[place] = _Reading(request.chunks[place], detail)
            yield detail.mix([(readings[place].at(frame), weight) for place, weight in parts])


def _reaching(plan: Sequence[Takeover], first: int, frame: int) -> list[Takeover]:
    """Takeovers from place `first` on that have begun; a shot's short overlaps make this two or three."""
    found = []
    for takeover in islice(plan, first, None):
        if takeover.start > frame:
            break
        found.append(takeover)
    return found


def _close_all(readings: dict[int, _Reading]) -> None:
    for reading in readings.values():
        reading.close()


class _Reading:
    """One chunk, read forward."""

    def __init__(self, chunk: StitchChunk, detail: _Detail) -> None:
        self._chunk = chunk
        self._next = chunk.start
        self._stack = ExitStack()
        self._items = detail.read(chunk, self._stack)

    def at(self, frame: int) -> Any:
        """What the chunk holds for source frame `frame`; frames are asked for in order."""
        for _ in range(frame - self._next):
            next(self._items)
        self._next = frame + 1
        return next(self._items)

    def close(self) -> None:
        self._stack.close()


def _opened(path: str, chunk: StitchChunk, stack: ExitStack) -> Iterator[Rgb]:
    """The frames of a chunk file, known to be as many as planned."""
    expected = chunk.end - chunk.start + chunk.padding
    with ChunkReader(Path(path)) as reader:
        found = reader.count()
    if found != expected:
        raise VerificationError(
            f"{path}: holds {found} frames, {expected} were planned for frames {chunk.start} to {chunk.end - 1}; "
            "delete it and run the edit again"
        )
    return stack.enter_context(ChunkReader(Path(path))).frames()


# -- the two kinds of detail ------------------------------------------------------------------------------------------


class _Detail(Protocol):
    """How edited chunks become frames at the source's size."""

    def read(self, chunk: StitchChunk, stack: ExitStack) -> Iterator[Any]:
        """What is kept of each frame of a chunk."""

    def mix(self, parts: list[tuple[Any, float]]) -> Any:
        """The weighted mean of what overlapping chunks hold for one frame."""

    def compose(self, original: av.VideoFrame, change: Any) -> av.VideoFrame:
        """The finished frame in the source's pixel format."""


class _Restoring:
    """`full`: the source's own planes plus the resized difference between the chunk's output and input."""

    def __init__(self, request: StitchRequest) -> None:
        self._restorer = Restorer(request.index)

    def read(self, chunk: StitchChunk, stack: ExitStack) -> Iterator[Difference | None]:
        outputs = _opened(chunk.output, chunk, stack)
        if filecmp.cmp(chunk.input, chunk.output, shallow=False):
            return repeat(None)  # Equal bytes hold equal frames: nothing was edited, nothing need be decoded.
        return _differences(chunk, outputs, _opened(chunk.input, chunk, stack))

    def mix(self, parts: list[tuple[Difference | None, float]]) -> Sequence[Difference] | None:
        change = mixed(parts)
        return None if change is None else self._restorer.yuv(change)

    def compose(self, original: av.VideoFrame, change: Sequence[Difference] | None) -> av.VideoFrame:
        return self._restorer.apply(original, change)


def _differences(chunk: StitchChunk, outputs: Iterator[Rgb], inputs: Iterator[Rgb]) -> Iterator[Difference | None]:
    for output, source in zip(outputs, inputs, strict=True):
        if output.shape != source.shape:
            raise VerificationError(
                f"{chunk.output}: its pictures are {output.shape[1]} x {output.shape[0]}, those of its input "
                f"{source.shape[1]} x {source.shape[0]}; delete it and run the edit again"
            )
        yield difference(output, source)


class _Enlarging:
    """`upscale`: the edited picture itself, enlarged."""

    def __init__(self, request: StitchRequest) -> None:
        self._enlarger = Enlarger(request.index)

    def read(self, chunk: StitchChunk, stack: ExitStack) -> Iterator[Rgb]:
        return _opened(chunk.output, chunk, stack)

    def mix(self, parts: list[tuple[Rgb, float]]) -> Any:
        return mixed_pictures(parts)

    def compose(self, original: av.VideoFrame, change: Any) -> av.VideoFrame:
        return self._enlarger.frame(change)


_DETAILS: dict[str, Callable[[StitchRequest], _Detail]] = {"full": _Restoring, "upscale": _Enlarging}
"""A row's `detail`."""
