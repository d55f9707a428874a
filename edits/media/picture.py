"""What a stream's pictures are, read from one frame, and the refusal of kinds that cannot be handled."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from edits.errors import SourceError
from edits.media.colour import Tags, interpretation
from edits.media.formats import PixelFormat, pixel_format, stored_format
from edits.media.reader import Source
from edits.media.records import Colour, Mastering

_UNSPECIFIED = 2
_RGB = 0


@dataclass(frozen=True)
class Picture:
    """Size, format and colour that every frame of a source has to share."""

    width: int
    height: int
    """As stored."""
    stored_format: str
    """ffmpeg's name as decoded, `yuvj420p` included."""
    form: PixelFormat
    """What its frames are computed in: planar, upright."""
    colour: Colour
    sample_aspect_ratio: Fraction
    """As stored."""
    rotation: int
    """Degrees counterclockwise to the upright picture: 0, 90, 180 or 270."""
    alpha: bool
    mastering: Mastering | None
    hidden: tuple[str, ...] = ()
    """What lies in its first frame beside the picture and is not carried, in words."""

    @property
    def upright(self) -> tuple[int, int, Fraction]:
        """(width, height, sample aspect ratio) after turning."""
        if self.rotation % 180:
            return self.height, self.width, 1 / self.sample_aspect_ratio
        return self.width, self.height, self.sample_aspect_ratio

    @property
    def computed_format(self) -> str:
        """ffmpeg's name of `form`, with the `j` of full range where the decoder gives it."""
        return self.stored_format if self.stored_format.startswith("yuvj") else self.form.name

    def require(self, frame: av.VideoFrame, number: int, name: str) -> None:
        """Check that `frame` is of this kind.

        Raises:
            SourceError: the picture's size, format or rotation changes.
        """
        if (frame.width, frame.height) != (self.width, self.height) or frame.format.name != self.stored_format:
            raise SourceError(
                f"{name}: at frame {number} the picture changes from {self.width} x {self.height} {self.stored_format} "
                f"to {frame.width} x {frame.height} {frame.format.name}, which is refused; split the file there"
            )
        if frame.rotation % 360 != self.rotation:
            raise SourceError(f"{name}: at frame {number} the rotation changes, which is refused; split the file there")


def picture_of(source: Source, frame: av.VideoFrame) -> Picture:
    """Read the first frame.

    Raises:
        SourceError: a mirrored or slanted picture, a pixel format or colour matrix that is not supported, or Dolby
            Vision without colours of its own.
    """
    name = str(source.path)
    stored = stored_format(frame.format.name, name)
    tags = tags_in(frame, source.stream.codec_context)
    ratio = source.stream.sample_aspect_ratio
    told = _told_by(source, frame)
    rotation = _rotation(frame, told, name)
    colour = interpretation(_of_rgb(tags) if stored.rgb else tags, frame.height, name)
    _require_own_colours(told, colour, name)
    return Picture(
        width=frame.width,
        height=frame.height,
        stored_format=frame.format.name,
        form=turned_form(pixel_format(stored.computed, name), rotation),
        colour=colour,
        sample_aspect_ratio=Fraction(ratio) if ratio else Fraction(1),
        rotation=rotation,
        alpha=stored.alpha,
        mastering=_mastering(told),
        hidden=tuple(words for kind, words in _HIDDEN.items() if kind in told),
    )


def _of_rgb(tags: Tags) -> Tags:
    """RGB is stored in full range unless it says otherwise."""
    return replace(tags, matrix=_RGB, range=tags.range or 2)


def turned_form(form: PixelFormat, rotation: int) -> PixelFormat:
    """What a format becomes when its planes are turned: 4:2:2 and 4:4:0 change places."""
    if rotation % 180 == 0 or form.shift_w == form.shift_h:
        return form
    name = form.name.replace("422", "44_").replace("440", "422").replace("44_", "440")
    return pixel_format(name, "source")


def _rotation(frame: av.VideoFrame, told: Told, name: str) -> int:
    """Degrees counterclockwise, 0 to 270.

    Raises:
        SourceError: a display matrix that also mirrors, or turns by something between quarters.
    """
    matrix = told.get("DISPLAYMATRIX")
    if matrix is None and not frame.rotation:
        return 0
    a, b, _, c, d = struct.unpack("=5i", matrix[:20]) if matrix is not None else (1, 0, 0, 0, 1)
    if a * d - b * c < 0:
        raise SourceError(f"{name}: the file asks players to mirror its picture, which is refused; mirror it first")
    if frame.rotation % 90:
        raise SourceError(
            f"{name}: the file asks players to turn its picture by {frame.rotation} degrees, which is refused: only "
            "quarters keep every pixel; write an upright version of it"
        )
    return int(frame.rotation) % 360


def mastering_of(frame: av.VideoFrame) -> Mastering | None:
    """What a frame of a deliverable says of ST 2086 and CTA-861.3; None without either."""
    return _mastering(_told(frame))


def _mastering(told: Told) -> Mastering | None:
    display, light = told.get("MASTERING_DISPLAY_METADATA"), told.get("CONTENT_LIGHT_LEVEL")
    if display is None and light is None:
        return None
    primaries, luminance = _display(display) if display is not None else ((), ())
    levels = struct.unpack("=2I", light[:8]) if light is not None else ()
    return Mastering(primaries, luminance, levels)


_HIDDEN = {
    "A53_CC": "closed captions",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light that HLG was graded in",
    "ICC_PROFILE": "an ICC profile",
    "STEREO3D": "how the picture is meant for two eyes",
    "SPHERICAL": "how the picture lies on a sphere",
    "AFD": "the active format description",
}
"""Kinds of side data, by PyAV's names, that speak of the picture and that nothing here writes again."""


Told = Mapping[str, bytes]
"""A frame's side data by PyAV's names of its kinds."""


def _told(frame: av.VideoFrame) -> Told:
    """PyAV (18.1) has no name for EXIF, and cannot list what lies in a frame with it: nothing then."""
    beside: Any = frame  # Typed as a mapping, it is a sequence too.
    try:
        return {each.type.name: bytes(each) for each in beside.side_data}
    except ValueError:
        return {}


def _told_by(source: Source, frame: av.VideoFrame) -> Told:
    """As `_told`; a PNG's profile of colours has a name, of which PyAV (18.1) frees the memory twice once it has listed
    it, which ends the process: of such pictures, and of PNG in a video, nothing else is asked."""
    if source.stream.codec_context.codec.canonical_name != "png":
        return _told(frame)
    if source.sequence is None:
        return {}
    with source.sequence.files[0].open("rb") as file:
        return {"ICC_PROFILE": b""} if b"iCCP" in file.read(_HEAD) else _told(frame)


_HEAD = 1 << 16
"""Bytes of a PNG in which its chunks before the pixels lie."""


def _require_own_colours(told: Told, colour: Colour, name: str) -> None:
    """Dolby Vision's profile 5 has no colours that mean anything without its metadata, and states none.

    Raises:
        SourceError: such a picture.
    """
    if "transfer" in colour.assumed and "DOVI_RPU_BUFFER" in told:
        raise SourceError(
            f"{name}: Dolby Vision whose picture is for its own decoders alone (profile 5), which is refused; export "
            "HDR10 or HLG from it (profile 8 is read as that)"
        )


def _display(data: bytes) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """`AVMasteringDisplayMetadata` (libavutil/mastering_display_metadata.h): ten fractions and two flags."""
    *numbers, has_primaries, has_luminance = struct.unpack("=22i", data[:88])
    fractions = tuple(
        Fraction(up, down) if down else Fraction(0) for up, down in zip(numbers[::2], numbers[1::2], strict=True)
    )
    return fractions[:8] if has_primaries else (), fractions[8:] if has_luminance else ()


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
