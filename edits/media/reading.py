"""One edited chunk while it is stitched: its files read forward, addressed by the source's frame numbers."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edits.errors import VerificationError
from edits.media.chunkfile import ChunkReader, Rgb
from edits.media.detail import Edit, edit_of, settled
from edits.media.levels import Levels
from edits.media.records import StitchChunk


class ChunkFile:
    """One file of a chunk. Frames are asked for in order; those before the first are decoded all the same."""

    def __init__(self, path: str, chunk: StitchChunk) -> None:
        self._path = path
        self._chunk = chunk
        self._reader = ChunkReader(Path(path), threads=1)
        self._frames: Iterator[Rgb] | None = None
        self._next = chunk.start

    def at(self, number: int) -> Rgb:
        """The frame that belongs to source frame `number`.

        Raises:
            VerificationError: the file is damaged, or ends before that frame.
        """
        if self._frames is None:
            self._frames = self._reader.frames(number - self._next)
        elif number != self._next:
            raise ValueError(f"frame {self._next} is next, not {number}")
        frame = next(self._frames, None)
        if frame is None:
            raise self._wrong_length()
        self._next = number + 1
        return shown(frame, self._chunk.window)

    def finish(self) -> None:
        """Check that the file held as many frames as planned, padding included, and close it.

        Raises:
            VerificationError: it did not.
        """
        if self._reader.count() != self._planned:
            raise self._wrong_length()
        self.close()

    def close(self) -> None:
        self._reader.close()

    @property
    def _planned(self) -> int:
        return self._chunk.end - self._chunk.start + self._chunk.padding

    def _wrong_length(self) -> VerificationError:
        first, last = self._chunk.start, self._chunk.end - 1
        return VerificationError(
            f"{self._path}: holds {self._reader.count()} frames, {self._planned} were planned for frames {first} to "
            f"{last} and their padding; delete it and run the edit again"
        )


def shown(picture: Rgb, window: tuple[int, int, int, int] | None) -> Rgb:
    """The part of a chunk's picture that shows the source: without the borders of `fit=pad`. A view."""
    if window is None:
        return picture
    left, top, width, height = window
    return picture[top : top + height, left : left + width]


class Pictures:
    """A chunk's output as pictures."""

    def __init__(self, chunk: StitchChunk, levels: Levels | None) -> None:
        self._file = ChunkFile(chunk.output, chunk)
        self._levels = levels

    def at(self, number: int) -> npt.NDArray[np.float32]:
        """(H, W, 3) in levels of 8 bits. Raises VerificationError: the file is damaged, or ends before that frame."""
        return settled(self._file.at(number), self._levels)

    def finish(self) -> None:
        self._file.finish()

    def close(self) -> None:
        self._file.close()


class Changes(Protocol):
    """What was changed in a chunk, frame by frame."""

    def at(self, number: int, squeezed: Callable[[], Rgb]) -> Edit | None:
        """What the edit made of source frame `number`; None if it left it as it was.

        `squeezed` makes the chunk's input of that frame again from the source, which takes a third of decoding it.
        """

    def finish(self) -> None:
        """Check what can only be checked at the end, and close."""

    def close(self) -> None:
        """Close without a check."""


def changes_of(chunk: StitchChunk, levels: Levels | None) -> Changes:
    """Open a chunk. Files of equal bytes hold equal frames: nothing was edited, and nothing need be decoded.

    `levels` make the output agree with the shot's other chunks; None leaves it as it is.
    """
    if filecmp.cmp(chunk.input, chunk.output, shallow=False):
        return _NoChanges(chunk)
    return _StoredChanges(chunk, levels)


class _NoChanges:
    def __init__(self, chunk: StitchChunk) -> None:
        self._output = ChunkFile(chunk.output, chunk)

    def at(self, number: int, squeezed: Callable[[], Rgb]) -> None:
        return None

    def finish(self) -> None:
        self._output.finish()

    def close(self) -> None:
        self._output.close()


class _StoredChanges:
    """The stored input decides. It is put away once a frame made again from the source has proven equal to it."""

    def __init__(self, chunk: StitchChunk, levels: Levels | None) -> None:
        self._chunk = chunk
        self._levels = levels
        self._output = ChunkFile(chunk.output, chunk)
        self._input: ChunkFile | None = ChunkFile(chunk.input, chunk)
        self._undecided = True

    def at(self, number: int, squeezed: Callable[[], Rgb]) -> Edit | None:
        output, source = self._output.at(number), self._given(number, squeezed)
        if output.shape != source.shape:
            raise VerificationError(
                f"{self._chunk.output}: its pictures are {output.shape[1]} x {output.shape[0]}, those of its input "
                f"{source.shape[1]} x {source.shape[0]}; delete it and run the edit again"
            )
        return edit_of(output, source, self._levels)

    def _given(self, number: int, squeezed: Callable[[], Rgb]) -> Rgb:
        if self._input is None:
            return squeezed()
        stored = self._input.at(number)
        if self._undecided and stored.min() != stored.max():  # An even picture would prove nothing.
            self._undecided = False
            if np.array_equal(stored, squeezed()):
                self._input.close()
                self._input = None
        return stored

    def finish(self) -> None:
        self._output.finish()
        if self._input is not None:
            self._input.finish()

    def close(self) -> None:
        self._output.close()
        if self._input is not None:
            self._input.close()
