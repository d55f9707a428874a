"""What the media engine finds out about a source, and what it is asked to write. Frozen records, no decoding here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pydantic import ConfigDict

from edits.job import STRICT

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all); the total is 0 while nobody knows it."""


@dataclass(frozen=True)
class Limits:
    """What decoding a file that nobody vouches for may cost."""

    __pydantic_config__ = STRICT
    max_pixels: int = 8192 * 4320
    """Pixels of one picture."""
    max_seconds: int = 12 * 3600
    """Duration of a source."""
    memory_bytes: int = 8 << 30
    """Address space of the child process (RLIMIT_AS): a few GiB are threads' stacks that are never touched."""
    cpu_seconds: int = 7 * 24 * 3600
    """Processor time of the child process over all its threads (RLIMIT_CPU)."""


@dataclass(frozen=True)
class IndexRequest:
    """A source to index."""

    __pydantic_config__ = STRICT
    path: str
    """Absolute path of a local file, or of a sequence of pictures."""
    rate: Fraction | None = None
    """Of a sequence: it states none."""


@dataclass(frozen=True)
class Colour:
    """How the source's code values are read. `assumed` names the fields that the file does not state."""

    __pydantic_config__ = STRICT
    matrix: str
    primaries: str
    transfer: str
    range: str
    """`tv` or `pc`."""
    assumed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.matrix}/{self.primaries}/{self.transfer}/{self.range}"


@dataclass(frozen=True)
class AudioStream:
    """One audio stream, as far as carrying it over needs."""

    __pydantic_config__ = STRICT
    index: int
    """Stream number in the container."""
    codec: str
    rate: int
    channels: int
    language: str
    track: int = 0
    """Number among the source's audio streams, from 1."""


@dataclass(frozen=True)
class SubtitleStream:
    """One stream of subtitles."""

    __pydantic_config__ = STRICT
    index: int
    """Stream number in the container."""
    codec: str
    language: str


HDR_TRANSFERS = ("smpte2084", "arib-std-b67")
"""PQ and HLG, by ffmpeg's names."""


@dataclass(frozen=True)
class Mastering:
    """The display that an HDR picture was graded on (SMPTE ST 2086), and its brightest light (CTA-861.3)."""

    __pydantic_config__ = STRICT
    primaries: tuple[Fraction, ...] = ()
    """x and y of red, green, blue and white; empty if not stated."""
    luminance: tuple[Fraction, ...] = ()
    """Darkest and brightest, in cd/m2; empty if not stated."""
    light_level: tuple[int, ...] = ()
    """MaxCLL and MaxFALL in cd/m2; empty if not stated."""

    def __str__(self) -> str:
        display = " ".join(f"{float(value):g}" for value in (*self.primaries, *self.luminance))
        light = " ".join(map(str, self.light_level))
        return f"display {display or 'not stated'}, light levels {light or 'not stated'}"


@dataclass(frozen=True)
class LutFile:
    """A LUT that shows a source's camera log to the editor."""

    __pydantic_config__ = STRICT
    sha256: str
    path: str = ""
    """Absolute path of a local file; empty where only keys are wanted."""


INDEX_VERSION = 4
"""Of `FrameIndex` as it is cached: raised when what an index says of the same file changes."""


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a source, found by decoding it whole: the only truth about count and time."""

    __pydantic_config__ = STRICT
    sha256: str
    size: int
    """Bytes."""
    container: str
    """`mov` (QuickTime), `mp4` (its kin), `matroska`, `mxf`, or `image2` for pictures."""
    stream: int
    codec: str
    width: int
    height: int
    """The picture in pixels, upright: turned by `rotation`."""
    sample_aspect_ratio: Fraction
    """Width to height of an upright pixel."""
    pixel_format: str
    """ffmpeg's name of what frames are computed in: planar, turned, without alpha; of RGB, G, B and R as 4:4:4."""
    bit_depth: int
    colour: Colour
    time_base: Fraction
    pts: tuple[int, ...]
    """Presentation timestamp of each decoded frame, in `time_base`."""
    last_duration: int
    """Duration of the last frame, in `time_base`."""
    rate: Fraction | None
    """Frames a second when constant (every timestamp within one tick of k/rate), else None."""
    cuts: tuple[int, ...]
    """Frame numbers at which a new shot begins, without 0, ascending."""
    audio: tuple[AudioStream, ...]
    timecode: str | None
    """Start timecode as the file states it, `HH:MM:SS:FF` or `HH:MM:SS;FF`."""
    reel: str | None
    exact: bool = True
    """False when the numbers come from headers alone (`plan --quick`)."""
    not_carried: tuple[str, ...] = ()
    """Parts of the source that no deliverable takes over (attachments, data), for the report."""
    rotation: int = 0
    """Degrees, counterclockwise, by which the stored picture is turned to stand upright: 0, 90, 180 or 270."""
    interlaced: int = 0
    """Frames that the decoder calls interlaced."""
    deinterlace: bool = False
    """Asked for: those frames are made progressive as they are read."""
    alpha: bool = False
    """Whether the source has an alpha channel."""
    carries_alpha: bool = False
    """Asked for: the deliverable gets it too."""
    subtitles: tuple[SubtitleStream, ...] = ()
    chapters: int = 0
    mastering: Mastering | None = None
    """What an HDR source states of its grading."""
    lut: LutFile | None = None
    """Asked for: the source is camera log, and the editor sees it through this."""

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's timestamp to the end of the last."""
        return (self.pts[-1] - self.pts[0] + self.last_duration) * self.time_base

    @property
    def is_sequence(self) -> bool:
        """Whether the source is pictures in a folder rather than a video."""
        return self.container == "image2"

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) as decoded, before the picture is turned upright."""
        return (self.height, self.width) if self.rotation % 180 else (self.width, self.height)

    @property
    def tone_curve(self) -> str:
        """What keys say of the curve between HDR or camera log and what the editor sees; empty for SDR."""
        if self.lut is not None:
            return f"lut/2 {self.lut.sha256}"
        if self.colour.transfer not in HDR_TRANSFERS:
            return ""
        return f"bt2446a/1 {self.colour.transfer} {self.hdr_peak}"

    @property
    def hdr_peak(self) -> int:
        """cd/m2 that become white for the editor: the mastering display's brightest if the file says so, else 1000."""
        stated = self.mastering.luminance if self.mastering else ()
        if self.colour.transfer != "smpte2084" or not stated:
            return 1000
        return min(10_000, max(100, round(stated[1])))


@dataclass(frozen=True)
class SplitChunk:
    """One input to write: the range, its padding and where it goes."""

    __pydantic_config__ = STRICT
    start: int
    end: int
    padding: int
    path: str


@dataclass(frozen=True)
class SplitRequest:
    """One sequential decode of `source` that writes every chunk in `chunks`."""

    __pydantic_config__ = STRICT
    source: str
    """Absolute path of a local file, as every path in these records."""
    index: FrameIndex
    chunks: tuple[SplitChunk, ...]
    width: int
    height: int
    fit: str


@dataclass(frozen=True)
class StitchChunk:
    """One edited chunk: where it lies in the source, and its two files."""

    __pydantic_config__ = STRICT
    start: int
    end: int
    padding: int
    lead: int
    shot: int
    input: str
    output: str
    window: tuple[int, int, int, int] | None = None
    """Left, top, width and height of the part of its pictures that shows the source; None: all of them."""


@dataclass(frozen=True)
class GivenMask:
    """Where a user says that the edit lies: white on black."""

    __pydantic_config__ = STRICT
    path: str
    index: FrameIndex | None
    """Of a video; None of a picture, which holds for all frames."""
    first: int = 0
    """The video's frame that belongs to the first edited one."""


@dataclass(frozen=True)
class StitchRequest:
    """One sequential pass from source and edited chunks to a deliverable."""

    __pydantic_config__ = STRICT
    source: str
    index: FrameIndex
    start: int
    end: int
    chunks: tuple[StitchChunk, ...]
    detail: str
    deliverable: str
    output: str
    blend: int = 6
    """Frames over which two chunks of a shot are mixed; what is left of the overlap after them is dropped."""
    encoder_threads: int = 4
    """Fixed, because some encoders write other bytes with another number."""
    pictures: tuple[int, ...] = ()
    """Source frames whose pictures, before and after, are written beside the output for a report."""
    picture_width: int = 480
    """Pixels at most."""
    mask: GivenMask | None = None
    """None: it is found from what the edit changed."""
    edited: tuple[int, int] | None = None
    """The frames within `[start, end)` that the chunks tile; None: all of them."""

    @property
    def edited_range(self) -> tuple[int, int]:
        return self.edited or (self.start, self.end)


@dataclass(frozen=True)
class Picture:
    """One frame before and after the edit, as JPEG."""

    __pydantic_config__ = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
    shot: int
    frame: int
    """Source frame number."""
    seconds: float
    """When it is shown, from the first frame of the source."""
    before: bytes
    after: bytes
    mask: bytes | None = None
    """Where the edit was laid over the source, as grey PNG; None where it was nowhere, or everywhere by `upscale`."""


@dataclass(frozen=True)
class Pictures:
    """`jobs/<job_id>/report/pictures.json`."""

    __pydantic_config__ = STRICT
    pictures: tuple[Picture, ...]
    colour_assumed: tuple[str, ...] = ()
    """What the source does not say of its colour and was taken as the deliverable's tags state it."""
    not_carried: tuple[str, ...] = ()
    """What the source holds beside picture and sound and the deliverable does not."""
    conversions: tuple[str, ...] = ()
    """What became of the source's pictures, a sentence a conversion."""


@dataclass(frozen=True)
class StreamDigest:
    """sha256 over a stream's packets (data only, in file order)."""

    __pydantic_config__ = STRICT
    kind: str
    codec: str
    packets: int
    sha256: str


@dataclass(frozen=True)
class Check:
    """One thing that was compared after writing."""

    __pydantic_config__ = STRICT
    name: str
    passed: bool
    expected: str
    found: str


@dataclass(frozen=True)
class Verification:
    """What the finished file was found to be."""

    __pydantic_config__ = STRICT
    checks: tuple[Check, ...]
    streams: tuple[StreamDigest, ...]
    sha256: str
    size: int
    frames: int
    duration: Fraction
    encoding: str = ""
    """Encoder, its options and its fixed number of threads: what decides the packets."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class QcReport:
    """`jobs/<job_id>/report/qc.json`: what was compared before a deliverable was published or kept back."""

    __pydantic_config__ = STRICT
    job_id: str
    output: str
    """URI of the deliverable, whether it got there or not."""
    published: bool
    accepted: tuple[str, ...]
    """Names of checks that failed and were accepted by the settings."""
    verification: Verification
    conversions: tuple[str, ...] = ()
    """What became of the source's pictures, a sentence a conversion."""


@dataclass(frozen=True)
class ReviewSpan:
    """Frames `[start, end)` of the source that a review copy shows. For a preview also the two files of the chunk that
    they are taken from, and the source frame with which these begin."""

    __pydantic_config__ = STRICT
    start: int
    end: int
    first: int = 0
    input: str = ""
    output: str = ""


@dataclass(frozen=True)
class ReviewRequest:
    """A review copy: the result beside its source. With `result` (a deliverable) one span, else spans of chunks."""

    __pydantic_config__ = STRICT
    source: str
    index: FrameIndex
    result: str
    result_start: int
    """Source frame that is the result's first."""
    spans: tuple[ReviewSpan, ...]
    output: str
    """Path of the copy; the pictures of the contact sheet are written beside it."""
    contacts: tuple[int, ...] = ()
    """Source frames of the contact sheet."""
    contact_width: int = 320
    """Pixels at most."""
    mask: str = ""
    """The grey video of the result's masks, a frame for each of its frames; empty where nothing was masked."""
