"""The deliverables that a row may name, and which containers can hold them with a given source's times and audio."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edits.errors import OutputError
from edits.media.formats import base_name
from edits.media.records import Colour, FrameIndex

_MS = 1000


@dataclass(frozen=True)
class Deliverable:
    """How the stitched picture is encoded."""

    name: str
    codec: str
    """Encoder, by ffmpeg's name."""
    suffixes: tuple[str, ...]
    """Containers in order of preference."""
    options: tuple[tuple[str, str], ...]
    pixel_formats: tuple[str, ...]
    """Format for even sizes, then for odd ones; empty: the source's own."""
    limited_range: bool
    """Always written in tv range, whatever the source has."""

    def pixel_format(self, index: FrameIndex) -> str:
        """ffmpeg's name of the format that is written. 4:2:0 has no odd sizes: those become 4:4:4, uncut."""
        if not self.pixel_formats:
            return base_name(index.pixel_format)
        odd = index.width % 2 or index.height % 2
        return self.pixel_formats[-1 if odd else 0]

    def colour(self, index: FrameIndex) -> Colour:
        """What the deliverable is tagged with: the source's interpretation, assumptions included."""
        written = "tv" if self.limited_range else index.colour.range
        return replace(index.colour, range=written, assumed=())

    def options_for(self, index: FrameIndex) -> dict[str, str]:
        """The encoder's options. Variable rate goes without B-frames: MP4 and MOV keep durations in decode order, so
        that reordered frames of unequal length would leave the last one's duration unsaid."""
        variable = {"bf": "0"} if index.rate is None and self.codec == "libx264" else {}
        return {**dict(self.options), **variable}

    def recipe(self, index: FrameIndex, threads: int) -> str:
        """What decides the packets, in one line."""
        options = " ".join(f"{key}={value}" for key, value in self.options_for(index).items())
        return f"{self.codec} {self.pixel_format(index)} {options} threads={threads}".replace("  ", " ")


DELIVERABLES: dict[str, Deliverable] = {
    entry.name: entry
    for entry in (
        Deliverable(
            name="h264",
            codec="libx264",
            suffixes=(".mp4", ".mov", ".mkv"),
            # Closed captions ride on decoded frames only where nothing was edited: none at all is the same everywhere.
            options=(("crf", "18"), ("preset", "veryfast"), ("a53cc", "0")),
            pixel_formats=("yuv420p", "yuv444p"),
            limited_range=False,
        ),
        Deliverable(
            name="prores_422_hq",
            codec="prores_ks",
            suffixes=(".mov",),
            options=(("profile", "3"), ("vendor", "apl0")),
            pixel_formats=("yuv422p10le",),
            limited_range=True,
        ),
        Deliverable(
            name="ffv1",
            codec="ffv1",
            suffixes=(".mkv", ".mov"),
            options=(("level", "3"), ("slices", "12"), ("slicecrc", "1"), ("g", "1")),
            pixel_formats=(),
            limited_range=False,
        ),
    )
}

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffix to ffmpeg's muxer."""


def muxer(deliverable: str, suffix: str) -> tuple[str, dict[str, str]]:
    """ffmpeg's muxer and its options. Its QuickTime muxer does not list FFV1, its MP4 muxer does: the same boxes."""
    if suffix == ".mov" and DELIVERABLES[deliverable].codec == "ffv1":
        return "mp4", {"brand": "qt  "}
    return MUXERS[suffix], {}


_CODED = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_PCM_LITTLE = frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"})
_PCM_BIG = frozenset({"pcm_s16be", "pcm_s24be", "pcm_s32be"})
AUDIO = {
    ".mp4": _CODED | {"opus", "flac"},
    ".mov": _CODED | _PCM_LITTLE | _PCM_BIG | {"pcm_f32be", "pcm_f64be"},
    ".mkv": _CODED | _PCM_LITTLE | _PCM_BIG | {"opus", "flac", "vorbis", "dts", "truehd", "mp2"},
}
"""Audio codecs that each container takes packet for packet and that players expect in it."""


def writable_suffixes(deliverable: str, index: FrameIndex) -> tuple[str, ...]:
    """Containers of `deliverable` that hold this source's timestamps, pixel shape and audio exactly; best first."""
    entry = DELIVERABLES[deliverable]
    return tuple(suffix for suffix in entry.suffixes if not _obstacle(entry, suffix, index))


def suffix_for(deliverable: str, index: FrameIndex) -> str:
    """The container to use when the row names none.

    Raises:
        OutputError: no container of this deliverable can hold the source; the message says why of each.
    """
    entry = DELIVERABLES[deliverable]
    found = writable_suffixes(deliverable, index)
    if found:
        return found[0]
    reasons = "; ".join(f"{suffix} {_obstacle(entry, suffix, index)}" for suffix in entry.suffixes)
    raise OutputError(f"deliverable {deliverable} cannot hold this source: {reasons}. Choose another deliverable")


def _obstacle(entry: Deliverable, suffix: str, index: FrameIndex) -> str:
    """Why this container does not do, or nothing."""
    strange = sorted({stream.codec for stream in index.audio} - AUDIO[suffix])
    if strange:
        return f"does not take {', '.join(strange)} audio"
    if suffix == ".mkv" and index.exact and not _whole_milliseconds(index):
        return "holds whole milliseconds only, which this source's timestamps are not"
    if suffix == ".mkv" and entry.codec == "ffv1" and index.sample_aspect_ratio != 1:
        return "is written without the shape of pixels unless the codec carries it, which FFV1 does not"
    return ""


def _whole_milliseconds(index: FrameIndex) -> bool:
    scaled = index.time_base * _MS
    return all(value * scaled.numerator % scaled.denominator == 0 for value in (*index.pts, index.last_duration))
