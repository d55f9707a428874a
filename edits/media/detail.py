"""Putting an edit back into the source's own planes: by resized difference, by the whole resized picture, or by a mask.

All arrays. A difference is float32 at working size; planes keep the source's depth and subsampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from edits.media.box import box_of
from edits.media.chunkfile import Rgb
from edits.media.colour import rgb_to_yuv
from edits.media.formats import Plane, copied, new_frame, pixel_format, planes
from edits.media.levels import SAME, Levels, levelled
from edits.media.records import FrameIndex
from edits.media.tone import curve_of

Difference = npt.NDArray[Any]
"""(H, W, 3) RGB difference: int16 for one chunk, float32 for a mixture; in levels of 8 bits."""
Map = npt.NDArray[np.float32]
"""(h, w): one value a pixel, at any size."""

Room = npt.NDArray[np.float32]
"""(n,): where one enlarged plane after another lies."""

_COLOURS = 3
"""Planes that hold colour; a fourth is alpha, which no edit touches."""
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


@dataclass(frozen=True)
class Edit:
    """What an edit made of one frame, at working size."""

    source: npt.NDArray[Any]
    """(H, W, 3) in levels of 8 bits: what was edited."""
    change: Difference
    deep: bool = False
    """The editor gave more than 8 bits."""


def edit_of(output: Rgb, source: Rgb, levels: Levels | None) -> Edit | None:
    """The edit that made `output`, after `levels`, of `source`; None where it changed nothing at all."""
    if levels is None or levels == SAME:
        change = difference(output, source)
        return None if change is None else Edit(source, change, output.dtype == np.uint16)
    return Edit(source, settled(output, levels) - source, output.dtype == np.uint16)


def mixed(parts: Sequence[tuple[Edit | None, float]]) -> Edit | None:
    """The weighted sum of edits of one frame; None counts as no change, and stays None when all are."""
    changed = [(part, weight) for part, weight in parts if part is not None]
    if not changed:
        return None
    first = changed[0][0]
    if len(parts) == 1:
        return first
    total = first.change.astype(np.float32) * np.float32(changed[0][1])
    for part, weight in changed[1:]:
        total += part.change.astype(np.float32) * np.float32(weight)
    return Edit(first.source, total, first.deep)


class Layers(NamedTuple):
    """One frame's edit as Y, U and V code values at working size, ready to be laid over the source's planes."""

    outside: Sequence[Plane] | None
    """What is added to the source; None: nothing."""
    inside: Sequence[Plane] | None = None
    """The edited picture itself; None where the mask is empty."""
    mask: Map | None = None
    """(h, w) from 0, the source and what is added to it, to 1, the edited picture."""


class Restorer:
    """The source's own planes, plus a resized difference, and where a mask says so the resized edit in their place."""

    def __init__(self, index: FrameIndex) -> None:
        self._form = pixel_format(index.pixel_format, "source")
        self._size = (index.width, index.height)
        matrix = rgb_to_yuv(index.colour, self._form.depth)
        self._rows = [np.ascontiguousarray(row[None]) for row in matrix]
        self._linear = [np.ascontiguousarray(row[:, :3]) for row in self._rows]
        self._curve = curve_of(index)
        self._room = [np.empty(index.width * index.height, np.float32) for _ in range(2)]

    def added(self, edit: Edit) -> tuple[Plane, ...]:
        """The difference as Y, U and V code values, at its own size; of HDR, that of what its curve makes of both."""
        levels = edit.change.astype(np.float32, copy=False)
        if self._curve is not None:
            before = edit.source.astype(np.float32)
            levels = self._curve.to_hdr(before + levels) - self._curve.to_hdr(before)
        return tuple(np.asarray(cv2.transform(levels, row)) for row in self._linear)

    def picture(self, edit: Edit) -> tuple[Plane, ...]:
        """The edited picture as Y, U and V code values, at working size, with fractions of a code value."""
        whole = edit.change.astype(np.float32, copy=False) + edit.source
        if self._curve is not None:
            whole = self._curve.to_hdr(whole)
        return tuple(np.asarray(cv2.transform(whole, row)) for row in self._rows)

    def apply(self, frame: av.VideoFrame, layers: Layers) -> av.VideoFrame:
        """The edited frame in the source's own format. Without layers the source's planes, untouched.

        What is enlarged takes the place of what was: one thread at a time.
        """
        sources = planes(frame)
        if layers.outside is None and layers.inside is None:
            return frame if frame.format.name == self._form.name else copied(sources, self._form, *self._size)
        result, targets = new_frame(self._form, *self._size)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if layers.outside is None or number == _COLOURS:
                np.copyto(target, source)
            else:
                self._put(source, _enlarged(layers.outside[number], source, cv2.INTER_LINEAR, self._room[0]), target)
        if layers.inside is not None and layers.mask is not None:
            self._lay(layers.inside, layers.mask, targets)
        return result

    def _lay(self, inside: Sequence[Plane], mask: Map, targets: Sequence[Plane]) -> None:
        """The enlarged edit over what is there, as far as the mask says; away from the mask nothing is done."""
        box = box_of(mask, [plane.shape for plane in (*inside, *targets)])
        for part, target in zip(map(box.of, inside), map(box.of, targets[:_COLOURS]), strict=True):
            over = _enlarged(part, target, cv2.INTER_LANCZOS4, self._room[0])
            cv2.subtract(over, target, dst=over, dtype=cv2.CV_32F)
            cv2.multiply(over, _enlarged(box.of(mask), target, cv2.INTER_LINEAR, self._room[1]), dst=over)
            self._put(target, over, target)

    def _put(self, source: Plane, change: Any, target: Plane) -> None:
        """The sum of codes and fractions of codes, rounded and kept within the depth."""
        cv2.add(source, change, dst=target, dtype=cv2.CV_8U if self._form.depth == 8 else cv2.CV_16U)
        if self._form.depth > 8:
            np.minimum(target, self._form.peak, out=target)


def _enlarged(part: Plane, target: npt.NDArray[Any], interpolation: int, room: Room) -> npt.NDArray[np.float32]:
    """`part` as large as `target`, in `room`: fresh pages of megabytes cost as much as the arithmetic."""
    height, width = target.shape
    large = room[: height * width].reshape(height, width)
    cv2.resize(part, (width, height), dst=large, interpolation=interpolation)
    return large


class Enlarger:
    """No detail from the source: the edited picture itself, brought to the source's size, depth and subsampling."""

    def __init__(self, index: FrameIndex) -> None:
        self._form = pixel_format(index.pixel_format, "source")
        self._size = (index.width, index.height)
        self._room = np.empty(index.width * index.height, np.float32)
        self._rows = [np.ascontiguousarray(row[None]) for row in rgb_to_yuv(index.colour, self._form.depth)]
        self._curve = curve_of(index)

    def frame(self, picture: npt.NDArray[np.float32]) -> av.VideoFrame:
        """`picture` is (H, W, 3) RGB in 8-bit levels; it is rounded once, at the end, to the source's depth."""
        if self._curve is not None:
            picture = self._curve.to_hdr(picture)
        result, targets = new_frame(self._form, *self._size)
        for target, row in zip(targets, self._rows, strict=True):
            large = _enlarged(np.asarray(cv2.transform(picture, row)), target, cv2.INTER_LANCZOS4, self._room)
            np.copyto(target, np.clip(np.rint(large, out=large), 0, self._form.peak, out=large), casting="unsafe")
        return result


def settled(picture: Rgb, levels: Levels | None) -> npt.NDArray[np.float32]:
    """A picture (H, W, 3) of either depth in levels of 8 bits, after `levels`: of 8 bits each value is looked up."""
    if levels is None or levels == SAME:
        return _levels(picture)
    if picture.dtype == np.uint16:
        return levelled(_levels(picture), levels)
    return np.asarray(cv2.LUT(picture, levelled(_EVERY_LEVEL, levels)), np.float32)


def mixed_pictures(parts: Sequence[tuple[npt.NDArray[np.float32], float]]) -> npt.NDArray[np.float32]:
    """The weighted mean of pictures in 8-bit levels; where they agree it is exactly what they agree on."""
    first = parts[0][0]
    total = first.copy()
    for picture, weight in parts[1:]:
        total += (picture - first) * np.float32(weight)
    return total


_EVERY_LEVEL = np.repeat(np.arange(256, dtype=np.float32)[None, :, None], 3, axis=2)


def _levels(picture: Rgb) -> npt.NDArray[np.float32]:
    levels = picture.astype(np.float32)
    return levels / np.float32(_PER_LEVEL) if picture.dtype == np.uint16 else levels
