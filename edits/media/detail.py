"""Putting an edit back into the source's own planes: by resized difference, or by the whole resized picture.

All arrays. A difference is float32 at working size; planes keep the source's depth and subsampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from edits.media.chunkfile import Rgb
from edits.media.colour import rgb_to_yuv
from edits.media.formats import PixelFormat, Plane, copied, new_frame, pixel_format, planes
from edits.media.records import FrameIndex
from edits.media.tone import curve_of

Difference = npt.NDArray[Any]
"""(H, W, 3) RGB difference: int16 for one chunk, float32 for a mixture; in levels of 8 bits."""

_PER_LEVEL = 257.0
"""16-bit code values in one 8-bit level: 255 * 257 = 65535."""


def difference(output: Rgb, source: Rgb) -> Difference | None:
    """`output - source` in 8-bit levels, or None where the edit changed nothing at all."""
    if output.dtype == np.uint16:
        deep = output.astype(np.float32) / _PER_LEVEL - source
        return deep if np.any(deep) else None
    if np.array_equal(output, source):
        return None
    return np.subtract(output, source, dtype=np.int16)


def mixed(parts: Sequence[tuple[Difference | None, float]]) -> Difference | None:
    """The weighted sum of differences; None (nothing changed) counts as zero, and stays None when all are."""
    changed = [(part, weight) for part, weight in parts if part is not None]
    if not changed:
        return None
    if len(parts) == 1:
        return changed[0][0]
    total = changed[0][0].astype(np.float32) * np.float32(changed[0][1])
    for part, weight in changed[1:]:
        total += part.astype(np.float32) * np.float32(weight)
    return total


class Restorer:
    """Full detail: the source's planes plus the resized difference."""

    def __init__(self, index: FrameIndex) -> None:
        self._form = pixel_format(index.pixel_format, "source")
        self._size = (index.width, index.height)
        matrix = rgb_to_yuv(index.colour, self._form.depth)[:, :3]
        self._rows = [np.ascontiguousarray(row[None]) for row in matrix]
        self._curve = curve_of(index)

    def yuv(self, change: Difference, given: Callable[[], Rgb] | None = None) -> tuple[Plane, ...]:
        """The difference as Y, U and V code values at working size. `given` is what was edited: of HDR, the difference
        is that of what its tone curve makes of both."""
        levels = change.astype(np.float32)
        if self._curve is not None and given is not None:
            before = given().astype(np.float32)
            levels = self._curve.to_hdr(before + levels) - self._curve.to_hdr(before)
        return tuple(np.asarray(cv2.transform(levels, row)) for row in self._rows)

    def apply(self, frame: av.VideoFrame, change: Sequence[Plane] | None) -> av.VideoFrame:
        """The edited frame in the source's own format. Without a change the source's planes, untouched."""
        sources = planes(frame)
        if change is None:
            return frame if frame.format.name == self._form.name else copied(sources, self._form, *self._size)
        result, targets = new_frame(self._form, *self._size)
        for source, target, part in zip(sources, targets, change, strict=True):
            self._add(source, part, target)
        return result

    def _add(self, source: npt.NDArray[Any], part: npt.NDArray[np.float32], target: npt.NDArray[Any]) -> None:
        height, width = source.shape
        large = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
        depth = cv2.CV_8U if self._form.depth == 8 else cv2.CV_16U
        cv2.add(source, large, dst=target, dtype=depth)
        if self._form.depth > 8:
            np.minimum(target, self._form.peak, out=target)


class Enlarger:
    """No detail from the source: the edited picture itself, brought to the source's size, depth and subsampling."""

    def __init__(self, index: FrameIndex) -> None:
        self._form = pixel_format(index.pixel_format, "source")
        self._size = {"width": index.width, "height": index.height}
        self._matrix = rgb_to_yuv(index.colour, self._form.depth)
        self._curve = curve_of(index)
        self._reformatter = VideoReformatter()

    def frame(self, picture: npt.NDArray[np.float32]) -> av.VideoFrame:
        """`picture` is (H, W, 3) RGB in 8-bit levels."""
        height, width = picture.shape[:2]
        if self._curve is not None:
            picture = self._curve.to_hdr(picture)
        mixture = np.asarray(cv2.transform(picture, self._matrix))
        codes: Plane = np.clip(np.rint(mixture), 0, self._form.peak).astype(self._form.dtype)
        whole = PixelFormat(self._form.full_chroma, self._form.depth, 0, 0)
        small = copied([np.asarray(plane) for plane in cv2.split(codes)], whole, width, height)
        return self._reformatter.reformat(small, **self._size, format=self._form.name, interpolation=_RESAMPLER)


def mixed_pictures(parts: Sequence[tuple[Rgb, float]]) -> npt.NDArray[np.float32]:
    """The weighted mean of pictures in 8-bit levels; where they agree it is exactly what they agree on."""
    first = _levels(parts[0][0])
    total = first.copy()
    for picture, weight in parts[1:]:
        total += (_levels(picture) - first) * np.float32(weight)
    return total


def _levels(picture: Rgb) -> npt.NDArray[np.float32]:
    levels = picture.astype(np.float32)
    return levels / np.float32(_PER_LEVEL) if picture.dtype == np.uint16 else levels


_RESAMPLER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
