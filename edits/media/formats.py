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
    """A planar YUV format. `name` is ffmpeg's, without the `j` of its old full-range names.

    RGB is computed in 4:4:4 too, its planes G, B and R in the places of Y, U and V: see `Colour.matrix`.
    """

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
        return f"yuv444p{_suffix(self.depth)}"

    def at_depth(self, depth: int) -> PixelFormat:
        """The format of the same subsampling and another depth."""
        return FORMATS[self.name.removesuffix(_suffix(self.depth)) + _suffix(depth)]

    def plane_sizes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """(width, height) of Y, U and V for a picture of `width` x `height`."""
        chroma = (-(-width >> self.shift_w), -(-height >> self.shift_h))
        return (width, height), chroma, chroma


def _suffix(depth: int) -> str:
    return "" if depth == 8 else f"{depth}le"


_SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "440": (0, 1), "444": (0, 0)}
"""4:4:0 is what 4:2:2 becomes when it is turned upright."""
_DEPTHS = {"420": (8, 10, 12), "422": (8, 10, 12), "440": (8, 10, 12), "444": (8, 10, 12, 16)}
FORMATS = {
    f"yuv{sub}p{_suffix(depth)}": PixelFormat(f"yuv{sub}p{_suffix(depth)}", depth, *_SUBSAMPLINGS[sub])
    for sub, depths in _DEPTHS.items()
    for depth in depths
}
"""Every format that the engine computes in."""


@dataclass(frozen=True)
class StoredFormat:
    """What a decoder gives."""

    planar: str
    """ffmpeg's name of the planar format that holds the same samples: itself, unless they are packed or big-endian."""
    computed: str
    """The format that its colour planes are computed in."""
    alpha: bool = False
    rgb: bool = False


_PACKED = {
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
    "gbrp10be": "gbrp10le",
    "gbrp12be": "gbrp12le",
    "gbrp16be": "gbrp16le",
    "gbrap10be": "gbrap10le",
    "gbrap12be": "gbrap12le",
    "gbrap16be": "gbrap16le",
}
"""As decoded -> the planar format that holds the same."""


def _stored() -> dict[str, StoredFormat]:
    found = {name: StoredFormat(name, name) for name in FORMATS}
    for name in tuple(found):
        found[name.replace("yuv", "yuva")] = StoredFormat(name.replace("yuv", "yuva"), name, alpha=True)
    for depth in (8, 10, 12, 16):
        form, suffix = f"yuv444p{_suffix(depth)}", _suffix(depth)
        found[f"gbrp{suffix}"] = StoredFormat(f"gbrp{suffix}", form, rgb=True)
        found[f"gbrap{suffix}"] = StoredFormat(f"gbrap{suffix}", form, alpha=True, rgb=True)
    return found | {name: found[planar] for name, planar in _PACKED.items()}


STORED = _stored()
"""Every format that a source may have, without the `j`."""


def stored_format(name: str, source: str) -> StoredFormat:
    """What is known of the format called `name`; `source` goes into the error.

    Raises:
        SourceError: a format that cannot be computed in without loss.
    """
    found = STORED.get(base_name(name))
    if found is None:
        raise SourceError(
            f"{source}: pixel format {name} is not supported; YUV 4:2:0, 4:2:2, 4:4:0 and 4:4:4 with 8, 10 or 12 bits "
            "and RGB with 8, 10, 12 or 16 are. Convert it first, for example with ffmpeg -pix_fmt yuv444p10le"
        )
    return found


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
        raise SourceError(f"{source}: frames in {name} cannot be computed with")
    return found


def planar(frame: av.VideoFrame) -> av.VideoFrame:
    """The same samples in planes, where they are packed or big-endian; else the frame itself."""
    name = stored_format(frame.format.name, "source").planar
    return frame if name == base_name(frame.format.name) else frame.reformat(format=name)


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


def as_rgb(frame: av.VideoFrame) -> av.VideoFrame:
    """RGB that is computed with as 4:4:4 YUV, under its own name."""
    depth = frame.format.components[0].bits
    result = av.VideoFrame(frame.width, frame.height, f"gbrp{_suffix(depth)}")
    for target, source in zip(planes(result), planes(frame), strict=True):
        np.copyto(target, source)
    return result


def copied(sources: Sequence[Plane], form: PixelFormat, width: int, height: int) -> av.VideoFrame:
    """A frame of `form` that holds the given planes."""
    frame, targets = new_frame(form, width, height)
    for target, source in zip(targets, sources, strict=True):
        np.copyto(target, source)
    return frame
