"""What a stream's pictures are, read from one frame, and the refusal of kinds that are not handled yet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from edits.errors import SourceError
from edits.media.colour import Tags, interpretation
from edits.media.formats import PixelFormat, pixel_format
from edits.media.reader import Source
from edits.media.records import Colour

_UNSPECIFIED = 2


@dataclass(frozen=True)
class Picture:
    """Size, format and colour that every frame of a source has to share."""

    width: int
    height: int
    stored_format: str
    """ffmpeg's name as decoded, `yuvj420p` included."""
    form: PixelFormat
    colour: Colour
    sample_aspect_ratio: Fraction

    def require(self, frame: av.VideoFrame, number: int, name: str) -> None:
        """Check that `frame` is of this kind.

        Raises:
            SourceError: the picture's size or format changes, or the frame is interlaced.
        """
        if (frame.width, frame.height) != (self.width, self.height) or frame.format.name != self.stored_format:
            raise SourceError(
                f"{name}: at frame {number} the picture changes from {self.width} x {self.height} {self.stored_format} "
                f"to {frame.width} x {frame.height} {frame.format.name}, which is refused for now; split the file there"
            )
        if frame.interlaced_frame:
            raise SourceError(f"{name}: frame {number} is interlaced, which is refused for now; deinterlace it first")


def picture_of(source: Source, frame: av.VideoFrame) -> Picture:
    """Read the first frame.

    Raises:
        SourceError: rotation, alpha, HDR, or a pixel format or colour matrix that is not supported.
    """
    name = str(source.path)
    if frame.rotation:
        raise SourceError(
            f"{name}: the file asks players to turn its picture by {frame.rotation} degrees, which is refused for now; "
            "write an upright version of it"
        )
    if any(component.is_alpha for component in frame.format.components):
        raise SourceError(alpha_refused(name))
    form = pixel_format(frame.format.name, name)
    tags = tags_in(frame, source.stream.codec_context)
    ratio = source.stream.sample_aspect_ratio
    return Picture(
        width=frame.width,
        height=frame.height,
        stored_format=frame.format.name,
        form=form,
        colour=interpretation(tags, frame.height, name),
        sample_aspect_ratio=Fraction(ratio) if ratio else Fraction(1),
    )


def alpha_refused(name: str) -> str:
    """The message for transparency, which a decoder may drop without a word."""
    return f"{name}: video with an alpha channel is refused for now; write a version without transparency"


def tags_in(frame: av.VideoFrame, context: Any) -> Tags:
    """The frame's tags, the container's where the frame has none."""
    full = frame.format.name.startswith("yuvj")
    return Tags(
        matrix=_first(frame.colorspace, context.colorspace),
        primaries=_first(frame.color_primaries, context.color_primaries),
        transfer=_first(frame.color_trc, context.color_trc),
        range=2 if full else int(frame.color_range) or int(context.color_range),
    )


def _first(own: int, outer: int) -> int:
    return int(own) if int(own) != _UNSPECIFIED else int(outer)
