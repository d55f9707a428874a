"""Small pictures of the frames around seams, source and result side by side, taken while the frames pass by.

What they say of a seam is measured elsewhere; which frames they are follows from the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from edits.media.blend import Takeover
from edits.media.chunkfile import ChunkReader, ChunkWriter, Rgb
from edits.media.records import StitchRequest
from edits.media.split import Squeezer

WIDTH = 416
"""Pixels of a picture at most: enough to see a step, a flicker or a ghost."""
MOST = 60
"""Seams of a job that are looked at, evenly spread when it has more."""
APART = 4
"""Frames between a seam and its controls."""


@dataclass(frozen=True)
class Seam:
    """Where one chunk takes over from another, and its controls. A number stands for the step to that frame."""

    first: int
    """The first frame in which the later chunk has a part."""
    steps: tuple[int, ...]
    controls: tuple[int, ...]

    @property
    def frames(self) -> frozenset[int]:
        """Every frame that a step leads from or to."""
        return frozenset(number for step in (*self.steps, *self.controls) for number in (step - 1, step))


def seams_of(plan: Sequence[Takeover], shots: Sequence[int]) -> tuple[Seam, ...]:
    """The seams of a video that are looked at; `shots` has the shot of each chunk.

    Controls are as many steps of the same shot as the seam has, half before and half after it, none in another seam. A
    seam without any is left out.
    """
    joins = [later for later in plan if later.chunk and shots[later.chunk] == shots[later.chunk - 1]]
    taken = {number for join in joins for number in _steps(join)}
    borders = _borders(plan, shots)
    found = [_seam(join, taken, *borders[shots[join.chunk]]) for join in joins]
    usable = [seam for seam in found if seam.controls]
    stride = max(1.0, len(usable) / MOST)
    return tuple(usable[int(place * stride)] for place in range(min(MOST, len(usable))))


def _steps(join: Takeover) -> range:
    """The steps to the first mixed frame, between mixed frames, and to the first that is wholly the later chunk's."""
    return range(join.first, min(join.first + join.length + 1, join.end))


def _borders(plan: Sequence[Takeover], shots: Sequence[int]) -> dict[int, tuple[int, int]]:
    """First frame of each shot, and the frame after its last."""
    found: dict[int, tuple[int, int]] = {}
    for takeover in plan:
        start, end = found.get(shots[takeover.chunk], (takeover.start, takeover.end))
        found[shots[takeover.chunk]] = (min(start, takeover.start), max(end, takeover.end))
    return found


def _seam(join: Takeover, taken: set[int], start: int, end: int) -> Seam:
    steps = _steps(join)
    half = -(-len(steps) // 2)
    before = range(max(start + 1, steps[0] - APART - half), max(start + 1, steps[0] - APART))
    after = range(steps[-1] + 1 + APART, min(end, steps[-1] + 1 + APART + half))
    controls = tuple(number for number in (*before, *after) if number not in taken)
    return Seam(join.first, tuple(steps), controls)


# -- writing and reading ----------------------------------------------------------------------------------------------


def samples_path(output: str) -> Path:
    """Where the pictures lie, beside the deliverable."""
    return Path(output).with_name("seams.mov")


class Samples:
    """Keeps the frames that `seams` need. A context manager: an error inside leaves no file."""

    def __init__(self, request: StitchRequest, seams: Sequence[Seam]) -> None:
        self._wanted = frozenset(number for seam in seams for number in seam.frames)
        width = min(WIDTH, request.index.width) // 2 * 2
        height = max(2, round(request.index.height * width / request.index.width) // 2 * 2)
        self._squeezer = Squeezer(request.index, width, height)
        self._writer = ChunkWriter(samples_path(request.output), 2 * width, height) if self._wanted else None

    def __enter__(self) -> Samples:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def note(self, number: int, original: av.VideoFrame, edited: av.VideoFrame) -> None:
        """Both frames are in the source's own format."""
        if self._writer is not None and number in self._wanted:
            self._writer.write(np.hstack([self._squeezer.rgb(frame) for frame in (original, edited)]))


def read_samples(output: str, seams: Sequence[Seam]) -> Iterator[tuple[int, Rgb, Rgb]]:
    """(number, source, result) of each frame that was kept, in order; nothing where there are no seams.

    Raises:
        VerificationError: the file is damaged.
    """
    wanted = sorted({number for seam in seams for number in seam.frames})
    if not wanted:
        return
    with ChunkReader(samples_path(output)) as reader:
        for number, both in zip(wanted, reader.frames(), strict=True):
            half = both.shape[1] // 2
            yield number, both[:, :half], both[:, half:]
