"""The masks of a video: found frame by frame as it is stitched, and kept beside the deliverable, to be looked at."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from edits.media.detail import Edit, Map
from edits.media.files import aside, writing
from edits.media.formats import planes
from edits.media.givenmask import given_masks
from edits.media.mask import METHODS, soft, steady
from edits.media.records import StitchRequest

Masked = tuple[int, av.VideoFrame, Edit | None, Map | None]
"""A frame's number, the frame, its edit and the mask of it."""


def mask_path(output: str) -> Path:
    """Where the masks lie as a grey video, beside the deliverable; absent when no frame has one."""
    return Path(output).with_name("mask.mkv")


def mask_name(frame: int) -> str:
    """File name of a mask as a picture, beside the deliverable; `frame` is the source's number."""
    return f"mask-{frame}.png"


class Masks:
    """Makes the masks of the frames of a request, shot by shot, and writes them down."""

    def __init__(self, request: StitchRequest, working_size: tuple[int, int]) -> None:
        self._method = METHODS[request.detail]
        self._first = request.start
        self._frames = request.end - request.start
        self._shots = sorted({chunk.shot: chunk.start for chunk in reversed(request.chunks)}.values())
        self._pictures = frozenset(request.pictures)
        self._folder = Path(request.output).parent
        self._given = request.mask
        width, height = working_size
        self._size = (max(1, width // 2), max(1, height // 2))
        self._file = _MaskWriter(mask_path(request.output), self._size)

    def over(self, frames: Iterator[tuple[int, av.VideoFrame, Any]]) -> Iterator[Masked]:
        """The same frames with their masks; a few are held back, for a mask looks ahead."""
        with self._file:
            for number, original, edit, mask in self._found(frames) if self._given is None else self._laid(frames):
                self._keep(number, mask)
                yield number, original, edit, mask
            self._file.fill(self._frames)

    def _found(self, frames: Iterator[tuple[int, av.VideoFrame, Any]]) -> Iterator[Masked]:
        for _, shot in groupby(frames, lambda frame: bisect_right(self._shots, frame[0])):
            evidence = ((frame, None if frame[2] is None else self._method.evidence(frame[2])) for frame in shot)
            for (number, original, edit), found in steady(evidence):
                yield number, original, edit, soft(found, self._method)

    def _laid(self, frames: Iterator[tuple[int, av.VideoFrame, Any]]) -> Iterator[Masked]:
        assert self._given is not None
        for (number, original, edit), mask in zip(frames, given_masks(self._given, self._size), strict=False):
            yield number, original, edit, mask

    def _keep(self, number: int, mask: Map | None) -> None:
        if mask is None:
            return
        grey = np.rint(mask * 255).astype(np.uint8)
        self._file.write(number - self._first, grey)
        if number in self._pictures:
            _, data = cv2.imencode(".png", grey)
            (self._folder / mask_name(number)).write_bytes(data.tobytes())


_NO_COLOUR = 128


class _MaskWriter:
    """A grey, lossless video, which can be given as a mask again. None is written before there is a mask at all."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path = path
        self._size = size
        self._black = np.zeros(size[::-1], np.uint8)
        self._aside = aside(path)
        self._container: Any = None
        self._stream: Any = None
        self._next = 0

    def __enter__(self) -> _MaskWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._container is None:
            return
        try:
            with writing(self._path) if kind is None else contextlib.suppress(Exception):
                self._container.mux(self._stream.encode())
                self._container.close()
                if kind is None:
                    self._aside.replace(self._path)
        finally:
            self._aside.unlink(missing_ok=True)

    def write(self, place: int, grey: npt.NDArray[np.uint8]) -> None:
        """`place` counts from the first frame of the deliverable."""
        with writing(self._path):
            if self._container is None:
                self._open()
            while self._next < place:
                self._add(self._black)
            self._add(grey)

    def fill(self, count: int) -> None:
        """Black up to `count` frames, if there is a file."""
        if self._container is not None:
            with writing(self._path):
                while self._next < count:
                    self._add(self._black)

    def _open(self) -> None:
        self._container = av.open(str(self._aside), "w", format="matroska", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream("ffv1", rate=Fraction(25), options={"level": "3"})
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 2

    def _add(self, grey: npt.NDArray[np.uint8]) -> None:
        frame = av.VideoFrame(*self._size, "yuv420p")
        for plane, values in zip(planes(frame), (grey, _NO_COLOUR, _NO_COLOUR), strict=True):
            plane[:] = values
        frame.pts, frame.time_base = self._next, Fraction(1, 25)
        self._container.mux(self._stream.encode(frame))
        self._next += 1
