"""The deliverables that a row may name, and which containers can hold them with a given source's times and audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import av

from edits.errors import OutputError
from edits.media.formats import FORMATS, base_name, stored_format
from edits.media.pictures import FIRST, SUFFIX
from edits.media.records import HDR_TRANSFERS, Colour, FrameIndex, Mastering
from edits.timecode import timecode_of

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
    pixel_formats: tuple[str, ...] = ()
    """Format for even sizes, then for odd ones; empty: the source's own."""
    limited_range: bool = False
    """Always written in tv range, whatever the source has."""
    alpha_format: str = ""
    """Format with alpha; `own`: the source's with alpha; empty: it holds none."""
    deeper: int = 0
    """Bits that its decoder adds to each sample: ProRes 4444 is written with 10 and read as 12."""
    lossless: bool = False

    def pixel_format(self, index: FrameIndex) -> str:
        """ffmpeg's name of the format that is written. 4:2:0 has no odd sizes: those become 4:4:4, uncut."""
        if self.codec == "png":
            return _PNG[index.bit_depth > 8, index.carries_alpha]
        own = _own_format(index, alpha=index.carries_alpha and self.alpha_format == "own")
        if index.carries_alpha and self.alpha_format:
            return own if self.alpha_format == "own" else self.alpha_format
        if not self.pixel_formats:
            return own
        odd = index.width % 2 or index.height % 2
        return self.pixel_formats[-1 if odd else 0]

    def depth(self, index: FrameIndex) -> int:
        """Bits a sample of what is written, packed or with alpha or not."""
        computed = stored_format(self.pixel_format(index), "deliverable").computed
        return FORMATS[computed].depth

    def read_format(self, index: FrameIndex) -> str:
        """ffmpeg's name of the format that decoding gives."""
        name = self.pixel_format(index)
        return name.replace("10le", f"{10 + self.deeper}le") if self.deeper else name

    def colour(self, index: FrameIndex) -> Colour:
        """What the deliverable is tagged with: the source's interpretation, assumptions included. RGB that becomes YUV
        gets the matrix that goes with its primaries."""
        rgb = self.pixel_format(index).startswith(_RGB_FORMATS)
        written = "tv" if self.limited_range else index.colour.range
        matrix = index.colour.matrix
        if matrix == "gbr" and not rgb:
            matrix, written = _MATRIX_OF.get(index.colour.primaries, "bt709"), "tv"
        elif rgb:
            matrix, written = "gbr", "pc"
        return replace(index.colour, matrix=matrix, range=written, assumed=())

    def options_for(self, index: FrameIndex, threads: int, frames: int) -> dict[str, str]:
        """The encoder's options for so many frames. Variable rate goes without B-frames: MP4 and MOV keep durations in
        decode order, so that reordered frames of unequal length would leave the last one's duration unsaid."""
        variable = {"bf": "0"} if index.rate is None and self.codec == "libx264" else {}
        alpha = {"alpha_bits": "16"} if index.carries_alpha and self.codec == "prores_ks" else {}
        params = {"x265-params": _x265(index, threads, frames)} if self.codec == "libx265" else {}
        if self.codec == "libx264" and index.mastering:
            params = {"x264-params": ":".join(_grading(index.mastering, "mastering-display", "cll"))}
        return {**dict(self.options), **variable, **alpha, **params}

    def recipe(self, index: FrameIndex, threads: int, frames: int) -> str:
        """What decides the packets of so many frames, in one line."""
        options = " ".join(f"{key}={value}" for key, value in self.options_for(index, threads, frames).items())
        return f"{self.codec} {self.pixel_format(index)} {options} threads={threads}".replace("  ", " ")


_RGB_FORMATS = ("gbr", "bgr", "rgb")
_MATRIX_OF = {"bt709": "bt709", "bt2020": "bt2020nc", "smpte170m": "smpte170m", "bt470bg": "bt470bg"}
"""The matrix that RGB with these primaries is written with."""


_PNG = {(False, False): "rgb24", (False, True): "rgba", (True, False): "rgb48be", (True, True): "rgba64be"}
"""(more than 8 bits, with alpha) -> format."""


def _own_format(index: FrameIndex, *, alpha: bool) -> str:
    """The source's own format, as encoders take it: RGB of 8 bits is packed for FFV1."""
    if index.colour.matrix != "gbr":
        own = base_name(index.pixel_format)
        return own.replace("yuv", "yuva") if alpha else own
    if index.bit_depth == 8:
        return "bgra" if alpha else "bgr0"
    return f"{'gbrap' if alpha else 'gbrp'}{index.bit_depth}le"


_X265_DELAY = 16
"""Frames below which x265 makes decoding times of what it has not seen: it is given no B-frames then."""


def _x265(index: FrameIndex, threads: int, frames: int) -> str:
    """x265's own options: a fixed number of threads, quiet, and what ST 2086 and CTA-861.3 say of HDR."""
    words = ["log-level=error", f"pools={max(1, threads)}", "frame-threads=2"]
    if index.rate is None or frames < _X265_DELAY:
        words.append("bframes=0")
    if index.colour.transfer in HDR_TRANSFERS:
        words += ["repeat-headers=1", "hdr10-opt=1"] if index.colour.transfer == "smpte2084" else ["repeat-headers=1"]
    if index.mastering:
        words += _grading(index.mastering, "master-display", "max-cll")
    return ":".join(words)


def _grading(grading: Mastering, display: str, light: str) -> list[str]:
    """What ST 2086 and CTA-861.3 say, as x264 and x265 both write it, each under its own names."""
    words = []
    if grading.primaries and grading.luminance:
        red, green, blue, white = (_point(grading.primaries[at : at + 2]) for at in (0, 2, 4, 6))
        darkest, brightest = (round(light * 10_000) for light in grading.luminance)
        words.append(f"{display}=G{green}B{blue}R{red}WP{white}L({brightest},{darkest})")
    if grading.light_level:
        words.append(f"{light}={grading.light_level[0]},{grading.light_level[1]}")
    return words


def _point(chromaticity: tuple[Fraction, ...]) -> str:
    """In the steps of 0.00002 that ST 2086 counts in."""
    x, y = (round(value * 50_000) for value in chromaticity)
    return f"({x},{y})"


_H264 = (("crf", "18"), ("preset", "veryfast"), ("mbtree", "0"), ("a53cc", "0"))
"""Closed captions ride on decoded frames only where nothing was edited: none at all is the same everywhere.
Without macroblock trees, because with them two threads do not repeat their packets (docs/decisions/0005)."""
_H265 = (("crf", "18"), ("preset", "fast"), ("a53cc", "0"))
_PLAYED = (".mp4", ".mov", ".mkv")

DELIVERABLES: dict[str, Deliverable] = {
    entry.name: entry
    for entry in (
        Deliverable("match", "", _PLAYED, ()),
        Deliverable("h264", "libx264", _PLAYED, _H264, ("yuv420p", "yuv444p")),
        Deliverable("h265_10bit", "libx265", _PLAYED, _H265, ("yuv420p10le", "yuv444p10le")),
        Deliverable(
            name="prores_422_hq",
            codec="prores_ks",
            suffixes=(".mov",),
            options=(("profile", "3"), ("vendor", "apl0")),
            pixel_formats=("yuv422p10le",),
            limited_range=True,
        ),
        Deliverable(
            name="prores_4444",
            codec="prores_ks",
            suffixes=(".mov",),
            options=(("profile", "4"), ("vendor", "apl0")),
            pixel_formats=("yuv444p10le",),
            limited_range=True,
            alpha_format="yuva444p10le",
            deeper=2,
        ),
        Deliverable(
            name="dnxhr_hqx",
            codec="dnxhd",
            suffixes=(".mov",),
            options=(("profile", "dnxhr_hqx"),),
            pixel_formats=("yuv422p10le",),
            limited_range=True,
        ),
        Deliverable(
            name="ffv1",
            codec="ffv1",
            suffixes=(".mkv", ".mov"),
            options=(("level", "3"), ("slices", "12"), ("slicecrc", "1"), ("g", "1")),
            alpha_format="own",
            lossless=True,
        ),
        Deliverable("png_sequence", "png", (SUFFIX,), (("compression_level", "3"),), alpha_format="own", lossless=True),
    )
}
"""By name, as rows ask for them. `match` becomes another one for each source: see `deliverable_for`."""


def deliverable_for(name: str, index: FrameIndex) -> Deliverable:
    """The entry called `name`; of `match`, the one that is most like the source."""
    return _matching(index) if name == "match" else DELIVERABLES[name]


def _matching(index: FrameIndex) -> Deliverable:
    """The source's codec, container, format and range where an encoder for them is at hand, else the nearest."""
    if index.carries_alpha or index.codec == "prores":
        wide = index.carries_alpha or index.pixel_format.startswith("yuv444p")
        found = DELIVERABLES["ffv1" if index.codec == "ffv1" else "prores_4444" if wide else "prores_422_hq"]
    elif index.codec in ("ffv1", "dnxhd"):
        found = DELIVERABLES["ffv1" if index.codec == "ffv1" else "dnxhr_hqx"]
    else:
        old = index.bit_depth == 8 and index.codec != "hevc"
        codec = "libx264" if old or index.codec == "h264" else "libx265"
        found = Deliverable("match", codec, _PLAYED, _H264 if codec == "libx264" else _H265)
    own = {"mov": ".mov", "mp4": ".mp4", "matroska": ".mkv"}.get(index.container)
    first = tuple(suffix for suffix in found.suffixes if suffix == own)
    return replace(found, name="match", suffixes=tuple(dict.fromkeys((*first, *found.suffixes))))


@cache
def encodable(codec: str) -> frozenset[str]:
    """Pixel formats that the encoder takes."""
    return frozenset(form.name for form in av.codec.Codec(codec, "w").video_formats or ())


MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", SUFFIX: "image2"}
"""Suffix to ffmpeg's muxer."""


def muxer(codec: str, suffix: str) -> tuple[str, dict[str, str]]:
    """ffmpeg's muxer and its options. Its QuickTime muxer does not list FFV1, its MP4 muxer does: the same boxes."""
    if suffix == ".mov" and codec == "ffv1":
        return "mp4", {"brand": "qt  "}
    return MUXERS[suffix], {"start_number": str(FIRST)} if suffix == SUFFIX else {}


_CODED = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_PCM_LITTLE = frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"})
_PCM_BIG = frozenset({"pcm_s16be", "pcm_s24be", "pcm_s32be"})
AUDIO = {
    ".mp4": _CODED | {"opus", "flac"},
    ".mov": _CODED | _PCM_LITTLE | _PCM_BIG | {"pcm_f32be", "pcm_f64be"},
    ".mkv": _CODED | _PCM_LITTLE | _PCM_BIG | {"opus", "flac", "vorbis", "dts", "truehd", "mp2"},
}
"""Audio codecs that each container takes packet for packet and that players expect in it."""


SUBTITLES = {
    ".mp4": frozenset({"mov_text"}),
    ".mov": frozenset({"mov_text"}),
    ".mkv": frozenset({"subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle"}),
}
"""Subtitle codecs that each container takes packet for packet; others are named in the report as not carried."""


REELS = (".mov", ".mkv")
"""Containers that keep a reel's name beside the timecode."""


def subtitles_for(index: FrameIndex, suffix: str) -> tuple[int, ...]:
    """Stream numbers of the subtitles that a container of this kind takes over."""
    return tuple(stream.index for stream in index.subtitles if stream.codec in SUBTITLES.get(suffix, ()))


def left_out(index: FrameIndex, suffix: str) -> tuple[str, ...]:
    """What the source holds and a deliverable of this kind does not, in words."""
    kept = subtitles_for(index, suffix)
    subtitles = (
        f"subtitles in stream {stream.index} ({stream.codec} is not for {suffix} files)"
        for stream in index.subtitles
        if stream.index not in kept
    )
    sounds = ("the sound: pictures hold none",) if suffix == SUFFIX and index.audio else ()
    return (*index.not_carried, *subtitles, *sounds, *_origin_left_out(index, suffix))


def _origin_left_out(index: FrameIndex, suffix: str) -> Iterator[str]:
    """Of timecode and reel, which a conform goes by."""
    if index.timecode is None and index.reel is None:
        return
    counted = timecode_of(index, 0) is not None
    if index.timecode is not None and suffix == SUFFIX:
        yield f"start timecode {index.timecode}: pictures hold none"
    elif index.timecode is not None and not counted:
        why = "no count of frames goes with it" if index.rate else "the frame rate varies"
        yield f"start timecode {index.timecode}: {why}"
    if index.reel and not (counted and suffix in REELS):
        yield f"reel {index.reel}: {'no timecode goes with it' if suffix in REELS else f'{suffix} files hold none'}"


def writable_suffixes(deliverable: str, index: FrameIndex) -> tuple[str, ...]:
    """Containers of `deliverable` that hold this source's timestamps, pixel shape and audio exactly; best first: those
    that leave out least, then the usual ones."""
    possible = [suffix for suffix, why in obstacles(deliverable, index).items() if not why]
    return tuple(sorted(possible, key=lambda suffix: len(left_out(index, suffix))))


def obstacles(deliverable: str, index: FrameIndex) -> dict[str, str]:
    """Container of `deliverable` to why it cannot hold this source; empty words where it can."""
    entry = deliverable_for(deliverable, index)
    return {suffix: _obstacle(entry, suffix, index) for suffix in entry.suffixes}


def suffix_for(deliverable: str, index: FrameIndex) -> str:
    """The container to use when the row names none.

    Raises:
        OutputError: no container of this deliverable can hold the source; the message says why of each.
    """
    found = writable_suffixes(deliverable, index)
    if found:
        return found[0]
    reasons = "; ".join(f"{suffix} {why}" for suffix, why in obstacles(deliverable, index).items())
    raise OutputError(f"deliverable {deliverable} cannot hold this source: {reasons}. Choose another deliverable")


_DNXHR_SMALLEST = (256, 120)


def _obstacle(entry: Deliverable, suffix: str, index: FrameIndex) -> str:
    """Why this container does not do, or nothing."""
    if index.carries_alpha and not entry.alpha_format:
        return "holds no alpha channel with this codec"
    if entry.pixel_format(index) not in encodable(entry.codec):
        return f"cannot be written: {entry.codec} takes no {entry.pixel_format(index)}"
    if entry.codec == "dnxhd" and (index.width < _DNXHR_SMALLEST[0] or index.height < _DNXHR_SMALLEST[1]):
        return f"cannot be written: DNxHR begins at {_DNXHR_SMALLEST[0]} x {_DNXHR_SMALLEST[1]}"
    if suffix == SUFFIX:
        return "" if index.rate else "holds no times, and this source's rate varies"
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
