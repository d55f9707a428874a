"""From a source to the inputs of its chunks: one sequential decode writes them all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from edits.job import InputRecord
from edits.keys import sha256_of
from edits.media.ahead import Ahead
from edits.media.chunkfile import ChunkWriter, Rgb
from edits.media.colour import tags_of, yuv_to_rgb
from edits.media.fit import window_of
from edits.media.formats import pixel_format, planes
from edits.media.reader import Source, indexed_frames, source_of
from edits.media.records import FrameIndex, Progress, SplitChunk, SplitRequest
from edits.media.tone import curve_of

_RESAMPLER = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging; bit-exact, because the same frames have to become the same input on any processor."""


class Squeezer:
    """Turns frames into RGB at the working size: planes are resampled first, then mixed by our own matrix."""

    def __init__(self, index: FrameIndex, width: int, height: int) -> None:
        self._form = pixel_format(index.pixel_format, "source")
        full = "yuvj444p" if index.pixel_format.startswith("yuvj") else self._form.full_chroma
        tags = tags_of(index.colour)
        self._target: dict[str, Any] = {
            "width": width,
            "height": height,
            "format": full,
            "interpolation": _RESAMPLER,
            "src_color_range": tags.range,
            "dst_color_range": tags.range,
            "threads": 1,
        }
        self._matrix = yuv_to_rgb(index.colour, self._form.depth)
        self._curve = curve_of(index)
        self._reformatter = VideoReformatter()

    def rgb(self, frame: av.VideoFrame) -> Rgb:
        """(height, width, 3) uint8; of HDR, what its tone curve makes of it."""
        small = self._reformatter.reformat(frame, **self._target)
        merged = cv2.merge(planes(small))
        if self._curve is not None:
            codes = np.asarray(cv2.transform(merged.astype(np.float32), self._matrix), np.float32)
            return np.rint(self._curve.to_sdr(codes)).astype(np.uint8)
        mixed = np.asarray(cv2.transform(merged, self._matrix))
        return np.minimum(mixed, 255).astype(np.uint8) if self._form.depth > 8 else mixed

    def rounded_off(self, frame: av.VideoFrame) -> npt.NDArray[np.float32]:
        """(height, width, 3): what `rgb` leaves out of a frame of more than 8 bits, half a level at most."""
        small = self._reformatter.reformat(frame, **self._target)
        codes = cv2.merge([plane.astype(np.float32) for plane in planes(small)])
        exact = np.asarray(cv2.transform(codes, self._matrix), np.float32)
        if self._curve is not None:
            exact = self._curve.to_sdr(exact)
        return np.clip(np.clip(exact, 0, 255) - self.rgb(frame), -0.5, 0.5)


def split(request: SplitRequest, progress: Progress) -> tuple[InputRecord, ...]:
    """Write each chunk's input file and describe it, in the order of the request; `input_key` is left empty.

    Memory does not depend on the source's length: overlapping chunks are written side by side from one decoded frame.

    Raises:
        SourceError: the source is damaged, or not the one that was indexed.
        StoreError, OutputError: no room, or a folder that cannot be written.
        ValueError: a fit that is not known.
    """
    end = max((chunk.end for chunk in request.chunks), default=0)
    work = _Work(request)
    with work, source_of(request.source, request.index) as source, Ahead(_pictures(request, source, end)) as pictures:
        for number, picture in enumerate(pictures):
            if picture is not None:
                work.add(number, picture)
            progress(number + 1, end)
    return work.records()


def _pictures(request: SplitRequest, source: Source, end: int) -> Iterator[Rgb | None]:
    """Frames 0 to `end`: RGB where a chunk holds the frame, None between chunks (decoded all the same, to count)."""
    window = window_of(request.index, request.width, request.height, request.fit)
    squeezer = Squeezer(request.index, window.width, window.height)
    wanted = _held(request.chunks, end)
    for number, frame in enumerate(islice(indexed_frames(source, request.index), end)):
        yield window.filled(squeezer.rgb(frame)) if wanted[number] else None


def _held(chunks: tuple[SplitChunk, ...], end: int) -> bytearray:
    """For each frame up to `end`, whether a chunk holds it."""
    held = bytearray(end)
    for chunk in chunks:
        held[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
    return held


class _Work:
    """The files that are being written, opened at their first frame and closed after their last."""

    def __init__(self, request: SplitRequest) -> None:
        self._request = request
        self._size = request.width, request.height
        self._waiting = sorted(enumerate(request.chunks), key=lambda entry: entry[1].start, reverse=True)
        self._open: dict[int, ChunkWriter] = {}
        self._records: dict[int, InputRecord] = {}

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self._open.values():
            writer.abandon()

    def add(self, number: int, picture: Rgb) -> None:
        while self._waiting and self._waiting[-1][1].start == number:
            place, chunk = self._waiting.pop()
            self._open[place] = ChunkWriter(Path(chunk.path), *self._size)
        for place, writer in list(self._open.items()):
            writer.write(picture)
            if number + 1 == self._request.chunks[place].end:
                self._finish(place, writer, picture)

    def _finish(self, place: int, writer: ChunkWriter, last: Rgb) -> None:
        for _ in range(self._request.chunks[place].padding):
            writer.write(last)
        writer.close()
        del self._open[place]
        width, height = self._size
        self._records[place] = InputRecord(
            input_key="",
            sha256=sha256_of(writer.path),
            size=writer.path.stat().st_size,
            frames=writer.frames,
            width=width,
            height=height,
        )

    def records(self) -> tuple[InputRecord, ...]:
        return tuple(self._records[place] for place in range(len(self._request.chunks)))
