"""A look at the frames that two chunks of a shot both hold, before they are stitched: by how much do they disagree?

Reads the chunks' files alone, and of those the frames of the overlaps. Keeps numbers, not pictures.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edits.errors import VerificationError
from edits.media.chunkfile import ChunkReader, Rgb, count_frames
from edits.media.levels import Levels, Moments, Overlap, solve
from edits.media.reading import shown
from edits.media.records import StitchChunk

LOOKED_AT = 4
"""Frames of an overlap that are compared, from the first that has weight: brightness needs no more (with 8 the seam of
the real pair has the same measures but for a luma step of 1.54 instead of 1.57), and each is decoded once more."""
_AT_ONCE = 2
"""Chunks that are looked at side by side: nothing else of the stitch goes on meanwhile."""
_PER_LEVEL = {"uint8": 1.0, "uint16": 257.0}


@dataclass(frozen=True)
class _Seen:
    """One frame of one chunk."""

    digest: bytes
    mean: tuple[float, ...]
    square: tuple[float, ...]


def levels_of(chunks: Sequence[StitchChunk]) -> tuple[Levels, ...] | None:
    """The levels of the chunks of one shot, in order of start; None where all overlaps agree exactly.

    Chunks in which nothing was edited stay as they are, and so does the first.

    Raises:
        VerificationError: a chunk file that is damaged or too short.
    """
    if len(chunks) < 2:
        return None
    unedited = {place for place, chunk in enumerate(chunks) if filecmp.cmp(chunk.input, chunk.output, shallow=False)}
    if len(unedited) == len(chunks):
        return None
    shared = {pair: frames for pair in _neighbours(chunks) if (frames := _shared(chunks, *pair))}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = list(pool.map(_look, chunks, (_wanted(shared, place) for place in range(len(chunks)))))
    overlaps = [
        Overlap(earlier, later, _moments(seen[earlier], frames), _moments(seen[later], frames))
        for (earlier, later), frames in shared.items()
    ]
    if all(seen[i][n].digest == seen[j][n].digest for (i, j), frames in shared.items() for n in frames):
        return None
    return solve(len(chunks), overlaps, unedited | {0})


def _neighbours(chunks: Sequence[StitchChunk]) -> Iterator[tuple[int, int]]:
    """Places of chunks that overlap: each with the next, and near a shot's end with the one after that."""
    for place, chunk in enumerate(chunks):
        for later in range(place + 1, len(chunks)):
            if chunks[later].start >= chunk.end:
                break
            yield place, later


def _shared(chunks: Sequence[StitchChunk], earlier: int, later: int) -> range:
    """The frames, by the source's numbers, over which the two are compared."""
    first = chunks[later].start + chunks[later].lead
    return range(first, min(first + LOOKED_AT, chunks[earlier].end, chunks[later].end))


def _wanted(shared: dict[tuple[int, int], range], place: int) -> list[range]:
    return [frames for pair, frames in shared.items() if place in pair and frames]


def _look(chunk: StitchChunk, wanted: Sequence[range]) -> dict[int, _Seen]:
    """What the chunk's output shows in each of the ranges; nothing between them is decoded."""
    if not wanted:
        return {}
    found: dict[int, _Seen] = {}
    with ChunkReader(Path(chunk.output), threads=1) as reader:
        for frames in wanted:
            for offset, frame in reader.frames_in(range(frames.start - chunk.start, frames.stop - chunk.start)):
                found[chunk.start + offset] = _seen(np.ascontiguousarray(shown(frame, chunk.window)))
    if all(number in found for frames in wanted for number in frames):
        return found
    held, planned = count_frames(Path(chunk.output)), chunk.end - chunk.start + chunk.padding
    raise VerificationError(
        f"{chunk.output}: holds {held} frames, {planned} were planned for frames {chunk.start} to {chunk.end - 1} and "
        "their padding; delete it and run the edit again"
    )


def _seen(frame: Rgb) -> _Seen:
    mean, spread = (values.ravel() / _PER_LEVEL[frame.dtype.name] for values in cv2.meanStdDev(frame))
    digest = hashlib.blake2b(frame.data, digest_size=16).digest()
    return _Seen(digest, tuple(mean), tuple(spread**2 + mean**2))


def _moments(seen: dict[int, _Seen], frames: range) -> Moments:
    return Moments(
        np.mean([seen[number].mean for number in frames], axis=0),
        np.mean([seen[number].square for number in frames], axis=0),
    )
