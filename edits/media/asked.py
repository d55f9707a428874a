"""A source's index as one row wants it read: deinterlaced, with or without alpha, with its own cuts and audio tracks.

An index says what a file is, for all rows at once; this says what one job makes of it. Pure; opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from edits.media.records import HDR_TRANSFERS, FrameIndex, LutFile
from edits.wording import counted

DEINTERLACER = "bwdif/1"
"""Name and version of what makes interlaced frames progressive, for keys."""


class Asked(Protocol):
    """What a row or a job says of its source's kind."""

    @property
    def interlaced(self) -> str: ...
    @property
    def alpha(self) -> str: ...
    @property
    def audio(self) -> tuple[int, ...] | None: ...
    @property
    def rate(self) -> Fraction | None: ...
    @property
    def lut(self) -> str: ...


def as_asked(
    index: FrameIndex, asked: Asked, cuts: tuple[int, ...] | None = None, lut: LutFile | None = None
) -> FrameIndex:
    """`index` for this job. Doing it twice changes nothing; what cannot be done is for `refusals` to say."""
    changes: dict[str, object] = {}
    if index.interlaced and asked.interlaced == "deinterlace":
        changes["deinterlace"] = True
    if index.alpha and asked.alpha == "carry":
        changes["carries_alpha"] = True
    if asked.audio is not None:
        changes["audio"] = tuple(stream for stream in index.audio if stream.track in asked.audio)
    if lut is not None:
        changes["lut"] = lut
    if cuts is not None:
        changes["cuts"] = cuts
    return replace(index, **changes) if changes else index  # type: ignore[arg-type]


def refusals(index: FrameIndex, asked: Asked) -> Iterator[tuple[str, str, str]]:
    """(column, what is wrong, what to write instead) for each thing that the source is and the row does not allow."""
    if index.interlaced and asked.interlaced == "refuse":
        yield (
            "interlaced",
            f"{index.interlaced} of the source's {index.frames} frames are interlaced.",
            "Write deinterlace, which keeps their count and times; or give a progressive version.",
        )
    if index.alpha and asked.alpha == "refuse":
        yield (
            "alpha",
            "the source has an alpha channel.",
            "Write carry (with a deliverable that holds it: prores_4444, ffv1 or png_sequence), or drop.",
        )
    if asked.rate is not None and not index.is_sequence:
        yield "rate", "a video has its own frame rate.", "Empty the cell; it is for sequences of pictures."
    if asked.lut and index.colour.transfer in HDR_TRANSFERS:
        yield "lut", "the source is HDR, which has a tone curve of its own.", "Empty the cell; it is for camera log."
    if asked.audio and asked.audio[-1] > len(index.audio):
        yield (
            "audio",
            f"the source has {counted(len(index.audio), 'audio track')}.",
            "Write all, none, or numbers that exist.",
        )
