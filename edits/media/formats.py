"""The pixel formats that the engine computes in, and views of a frame's planes as arrays. No colour, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from edits.errors import SourceError

Plane = npt.NDArray[Any]
"""(H, W) view of one plane: uint8, or uint16 for more than 8 bits."""


@dataclass(frozen=True)
class PixelFormat:
    """A planar YUV format. `name` is ffmpeg's, without the `j` of its old full-range names."""

    name: str
    depth: int
    """Bits a sample."""
    shift_w: int
    shift_h: int
    """Chroma planes are ceil(width / 2**shift_w) x ceil(height / 2**shift_h)."""

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def peak(self) -> int:
        """The largest code value."""
        return (1 << self.depth) - 1

    @property
    def full_chroma(self) -> str:
        """The 4:4:4 format of the same depth."""
        return "yuv444p" if self.depth == 8 else f"yuv444p{self.depth}le"

    def plane_sizes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """(width, height) of Y, U and V for a picture of `width` x `height`."""
        chroma = (-(-width >> self.shift_w), -(-height >> self.shift_h))
        return (width, height), chroma, chroma


_SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}
FORMATS = {
    f"yuv{sub}p{suffix}": PixelFormat(f"yuv{sub}p{suffix}", depth, *shifts)
    for sub, shifts in _SUBSAMPLINGS.items()
    for suffix, depth in (("", 8), ("10le", 10))
}
"""Every format that a source may have."""


def base_name(name: str) -> str:
    """`yuvj420p` and its like are `yuv420p` in full range; the range is a tag of its own here."""
    return name.replace("yuvj", "yuv") if name.startswith("yuvj") else name


def pixel_format(name: str, source: str) -> PixelFormat:
    """The format called `name`; `source` goes into the error.

    Raises:
        SourceError: a format that the engine does not compute in.
    """
    found = FORMATS.get(base_name(name))
    if found is None:
        raise SourceError(
            f"{source}: pixel format {name} is not supported yet; 4:2:0, 4:2:2 and 4:4:4 YUV with 8 or 10 bits are. "
            "Convert it first, for example with ffmpeg -pix_fmt yuv444p10le"
        )
    return found


def planes(frame: av.VideoFrame) -> tuple[Plane, ...]:
    """Views (no copies) of a planar frame's planes, padding at line ends left out."""
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    return tuple(_view(plane, kind) for plane in frame.planes)


def _view(plane: Any, kind: type[np.uint8] | type[np.uint16]) -> Plane:
    return np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]


def new_frame(form: PixelFormat, width: int, height: int) -> tuple[av.VideoFrame, tuple[Plane, ...]]:
    """An empty frame and views of its planes to write into."""
    frame = av.VideoFrame(width, height, form.name)
    return frame, planes(frame)


def copied(sources: Sequence[Plane], form: PixelFormat, width: int, height: int) -> av.VideoFrame:
    """A frame of `form` that holds the given planes."""
    frame, targets = new_frame(form, width, height)
    for target, source in zip(targets, sources, strict=True):
        np.copyto(target, source)
    return frame
