"""From the format that frames are computed in to the one that a deliverable is written in; most need nothing."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from edits.media.colour import rgb_to_yuv, swing, yuv_to_rgb
from edits.media.deliverables import deliverable_for
from edits.media.formats import PixelFormat, Plane, copied, pixel_format, planes, stored_format
from edits.media.records import Colour, StitchRequest

_RESAMPLER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Converter:
    """One deliverable's conversion.

    swscale changes subsampling, and the depth of limited range, where it shifts. Where the matrix changes (RGB to YUV
    and back) our own is used, on 4:4:4; where full range changes its depth or becomes limited, tables are: swscale is
    three levels of ten bits off there. What is packed, or has alpha, is put together last, without loss.
    """

    def __init__(self, request: StitchRequest) -> None:
        index, entry = request.index, deliverable_for(request.deliverable, request.index)
        self._before, self._after = index.colour, entry.colour(index)
        self._own = pixel_format(index.pixel_format, "source")
        self._format = entry.pixel_format(index)
        self._stored = stored_format(self._format, "deliverable")
        self._computed = pixel_format(self._stored.computed, "deliverable")
        self._reformatter, self._packer = VideoReformatter(), VideoReformatter()
        self._recoder: _Recoder | None = None
        self._rescaler: _Rescaler | None = None
        if (self._before.matrix == "gbr") != (self._after.matrix == "gbr"):
            self._recoder = _Recoder(self._before, self._own, self._after, self._computed)
        elif "pc" in (self._before.range, self._after.range) and self._moves:
            self._rescaler = _Rescaler(self._before, self._own, self._after, self._computed.depth)

    @property
    def _moves(self) -> bool:
        """Whether code values change."""
        return (self._before.range, self._own.depth) != (self._after.range, self._computed.depth)

    def convert(self, frame: av.VideoFrame, alpha: Plane | None) -> av.VideoFrame:
        """`frame`, in the source's computed format, as it is encoded; `alpha` is the source's, in its own depth."""
        return self._packed(self._resampled(frame), alpha)

    def _resampled(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._recoder is not None:
            after, computed = self._after.range, self._computed.name
            if frame.format.name != self._own.full_chroma:
                frame = self._reformat(frame, self._own.full_chroma, self._before.range)
            return self._reformat(self._recoder.recode(frame), computed, after, after)
        before = self._before.range
        if self._rescaler is not None:
            frame, before = self._rescaler.rescale(frame), self._after.range
        same = frame.format.name == self._computed.name and before == self._after.range
        return frame if same else self._reformat(frame, self._computed.name, before, self._after.range)

    def _reformat(self, frame: av.VideoFrame, name: str, before: str, after: str = "") -> av.VideoFrame:
        if frame.format.name == name and before == (after or before):
            return frame
        ranges: dict[str, Any] = {"src_color_range": _RANGES[before], "dst_color_range": _RANGES[after or before]}
        return self._reformatter.reformat(frame, format=name, interpolation=_RESAMPLER, threads=1, **ranges)

    def _packed(self, frame: av.VideoFrame, alpha: Plane | None) -> av.VideoFrame:
        if self._stored.planar == frame.format.name:
            return frame
        result = av.VideoFrame(frame.width, frame.height, self._stored.planar)
        targets = planes(result)
        for target, source in zip(targets[:3], planes(frame), strict=True):
            np.copyto(target, source)
        if self._stored.alpha:
            assert alpha is not None
            np.copyto(targets[3], _deepened(alpha, self._own.depth, self._computed.depth))
        return result if self._stored.planar == self._format else self._pack(result)

    def _pack(self, frame: av.VideoFrame) -> av.VideoFrame:
        return self._packer.reformat(frame, format=self._format, threads=1)


_RANGES = {"tv": 1, "pc": 2}
"""As `Tags.range`."""


def _deepened(alpha: Plane, before: int, after: int) -> Plane:
    """Alpha is full range at every depth: 0 stays 0, opaque stays opaque."""
    if before == after:
        return alpha
    scale = ((1 << after) - 1) / ((1 << before) - 1)
    return np.rint(alpha * scale).astype(np.uint8 if after == 8 else np.uint16)


class _Rescaler:
    """Planes at another range and depth, by a table for luma and one for chroma: white stays white, grey grey."""

    def __init__(self, before: Colour, source: PixelFormat, after: Colour, depth: int) -> None:
        self._target = source.at_depth(depth)
        codes = np.arange(source.peak + 1)
        (scales, offsets), (wanted, middles) = swing(before, source.depth), swing(after, depth)
        values = [(codes - offsets[n]) * wanted[n] / scales[n] + middles[n] for n in range(3)]
        self._tables = [np.clip(np.rint(v), 0, self._target.peak).astype(self._target.dtype) for v in values]

    def rescale(self, frame: av.VideoFrame) -> av.VideoFrame:
        parts = [table[plane] for table, plane in zip(self._tables, planes(frame), strict=True)]
        return copied(parts, self._target, frame.width, frame.height)


class _Recoder:
    """From one matrix to another on 4:4:4, through R'G'B' without rounding it."""

    def __init__(self, before: Colour, source: PixelFormat, after: Colour, target: PixelFormat) -> None:
        decode, encode = yuv_to_rgb(before, source.depth), rgb_to_yuv(after, target.depth)
        linear = encode[:, :3].astype(np.float64) @ decode[:, :3]
        offset = encode[:, :3].astype(np.float64) @ decode[:, 3] + encode[:, 3]
        self._matrix = np.column_stack([linear, offset]).astype(np.float32)
        self._target = PixelFormat(target.full_chroma, target.depth, 0, 0)

    def recode(self, frame: av.VideoFrame) -> av.VideoFrame:
        mixed = cv2.transform(cv2.merge([plane.astype(np.float32) for plane in planes(frame)]), self._matrix)
        codes = np.clip(np.rint(mixed), 0, self._target.peak).astype(self._target.dtype)
        parts = [np.ascontiguousarray(codes[..., number]) for number in range(3)]
        return copied(parts, self._target, frame.width, frame.height)
