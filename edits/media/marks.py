"""Each frame as a small grid of luma, kept in a file while the frames pass by: what verification compares later on.

So black, frozen and flashing pictures are told from those of the source, and the deliverable is held against what was
stitched, without decoding the source or the chunks again. 580 bytes a frame, never more than one frame in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt

from edits.media.colour import luma_of
from edits.media.deliverables import deliverable_for
from edits.media.files import writing
from edits.media.formats import pixel_format, planar, planes, stored_format
from edits.media.records import Colour, StitchRequest

GRID = (16, 9)
"""(width, height) of a mark."""
_FINE = 128
"""Steps that a level of 8 bits is kept in."""
_SAMPLED = 4
"""Pixels a side, at least, of which each cell is the mean."""
_CELLS = GRID[0] * GRID[1]
_RECORD = np.dtype([("source", "<u2", _CELLS), ("stitched", "<u2", _CELLS), ("digest", "<u4")])

Mark = npt.NDArray[np.float32]
"""(144,) luma in levels of 8 bits, 0 black and 255 white whatever the range."""


@dataclass(frozen=True)
class Marks:
    """One frame of the range: the source's, and the deliverable's as it went into the encoder."""

    source: Mark
    stitched: Mark
    digest: int
    """CRC-32 of the planes that went into the encoder; 0 where that is not lossless."""


class Marking:
    """Makes marks of frames of one pixel format and colour."""

    def __init__(self, name: str, colour: Colour) -> None:
        form = pixel_format(stored_format(name, "frame").computed, "frame")
        *self._weights, self._offset = luma_of(colour, form.depth)

    def mark(self, frame: av.VideoFrame) -> Mark:
        """The mark of `frame`, which is planar or becomes so without loss."""
        total = np.full(_CELLS, self._offset, np.float32)
        for weight, plane in zip(self._weights, planes(planar(frame)), strict=False):
            if weight:
                total += _cells(plane) * np.float32(weight)
        return np.clip(total, 0, 511)


def _cells(plane: npt.NDArray[np.generic]) -> Mark:
    """Means over a grid; of large pictures not every pixel is looked at."""
    height, width = plane.shape
    step = max(1, min(width // (GRID[0] * _SAMPLED), height // (GRID[1] * _SAMPLED)))
    picked = np.ascontiguousarray(plane[::step, ::step], dtype=np.float32)
    return np.asarray(cv2.resize(picked, GRID, interpolation=cv2.INTER_AREA), np.float32).ravel()


def digest_of(frame: av.VideoFrame) -> int:
    """CRC-32 over the rows of all planes, without what lies between them."""
    digest = 0
    for plane in planes(planar(frame)):
        digest = zlib.crc32(np.ascontiguousarray(plane).data, digest)
    return digest


def marks_path(output: str) -> Path:
    """Where the marks of a deliverable lie while it is being made: beside it."""
    return Path(f"{output}.marks")


class MarksWriter:
    """Notes frames one by one. Use as a context manager."""

    def __init__(self, request: StitchRequest) -> None:
        index, entry = request.index, deliverable_for(request.deliverable, request.index)
        self._source = Marking(index.pixel_format, index.colour)
        self._stitched = Marking(entry.pixel_format(index), entry.colour(index))
        self._lossless = entry.lossless
        self._path = marks_path(request.output)
        with writing(self._path):
            self._file = self._path.open("wb")

    def __enter__(self) -> MarksWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def note(self, original: av.VideoFrame, encoded: av.VideoFrame) -> None:
        """`original` is in the source's computed format, `encoded` in the deliverable's."""
        record = np.zeros(1, _RECORD)
        record["source"] = np.rint(self._source.mark(original) * _FINE)
        record["stitched"] = np.rint(self._stitched.mark(encoded) * _FINE)
        record["digest"] = digest_of(encoded) if self._lossless else 0
        with writing(self._path):
            self._file.write(record.tobytes())


def read_marks(path: Path) -> Iterator[Marks]:
    """What was noted, in order."""
    with path.open("rb") as file:
        while data := file.read(_RECORD.itemsize):
            record = np.frombuffer(data, _RECORD)[0]
            source, stitched = (record[name].astype(np.float32) / _FINE for name in ("source", "stitched"))
            yield Marks(source, stitched, int(record["digest"]))
