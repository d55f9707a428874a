"""The frame index: every timestamp of a source, found by decoding it once, with its cuts, colour and audio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av

from edits.errors import SourceError
from edits.keys import sha256_of
from edits.media.picture import Picture, picture_of
from edits.media.rate import constant_rate, last_duration
from edits.media.reader import Source
from edits.media.records import AudioStream, FrameIndex, Limits, Progress, SubtitleStream
from edits.media.structure import require_whole
from edits.sequence import sequence_of

_SLACK = Fraction(1, 2)
"""Seconds by which a Matroska file may end before its stated duration: writers round, and count subtitles in."""


def index_source(
    path: Path, progress: Progress, limits: Limits | None = None, rate: Fraction | None = None
) -> FrameIndex:
    """Decode `path` once and describe it. Memory grows by one integer a frame.

    Raises:
        SourceError: missing, cut short, damaged (with the frame's number), over the limits, or of a refused kind.
    """
    if sequence_of(path) is None:
        require_whole(path)
    with ThreadPoolExecutor(1) as pool, Source(path, limits, rate=rate) as source:
        _check_duration(source, _stated_duration(source))
        digest = pool.submit(sha256_of, path) if source.sequence is None else pool.submit(source.sequence.sha256)
        survey = _Survey(source)
        total = _stated_frames(source) or 0
        for frame in source.frames(survey.note):
            survey.add(frame)
            progress(len(survey.pts), max(total, len(survey.pts)) if total else 0)
        return survey.index(digest.result())


def quick_index(path: Path, limits: Limits | None = None, rate: Fraction | None = None) -> FrameIndex:
    """What the headers and the first frame say: count and times are not proven, there are no cuts and no digest.

    Raises:
        SourceError: as `index_source`, as far as headers tell; or they state no number of frames.
    """
    if sequence_of(path) is None:
        require_whole(path)
    with Source(path, limits, rate=rate) as source:
        _check_duration(source, _stated_duration(source))
        frame = next(source.frames(), None)
        if frame is None:
            raise SourceError(_no_frames(path))
        picture = picture_of(source, frame)
        rate, frames = _stated_rate(source), _stated_frames(source)
        if not rate or not frames:
            raise SourceError(
                f"{path}: its headers do not say how many frames it has; index it by decoding (no --quick)"
            )
        return FrameIndex(
            **_description(source, picture),
            interlaced=frames if frame.interlaced_frame else 0,
            sha256="",
            time_base=1 / rate,
            pts=tuple(range(frames)),
            last_duration=1,
            rate=rate,
            cuts=(),
            exact=False,
        )


# -- one decode -------------------------------------------------------------------------------------------------------


class _Survey:
    """What is gathered while a source is decoded."""

    def __init__(self, source: Source) -> None:
        self.pts: list[int] = []
        self._source = source
        self._name = str(source.path)
        self._picture: Picture | None = None
        self._cuts: Any = None
        self._duration = 0
        self._end = Fraction(0)
        self._ends: dict[int, int] = {}
        self._interlaced = 0
        self._alpha = False

    def note(self, packet: av.Packet[Any]) -> None:
        """Keep the end of each stream; alpha in VP8 and VP9 hides beside the packets, and decoders drop it."""
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            self._ends[packet.stream_index] = max(end, self._ends.get(packet.stream_index, end))
        if packet.stream is self._source.stream and not self._alpha:
            self._alpha = packet.has_sidedata("matroska_block_additional")

    def add(self, frame: av.VideoFrame) -> None:
        if self._picture is None:
            self._picture = picture_of(self._source, frame)
            self._cuts = self._cut_finder(self._picture)
        self._picture.require(frame, len(self.pts), self._name)
        self._interlaced += frame.interlaced_frame
        self._cuts.add(len(self.pts), frame)
        self.pts.append(self._time(frame))
        self._duration = frame.duration or 0

    @staticmethod
    def _cut_finder(picture: Picture) -> Any:
        from edits.media.cuts import CutFinder  # here: PySceneDetect takes half a second to import

        return CutFinder(picture.form, picture.colour, picture.width, picture.height)

    def _time(self, frame: av.VideoFrame) -> int:
        number = len(self.pts)
        if frame.pts is None:
            raise SourceError(f"{self._name}: frame {number} has no timestamp; rewrap the file with timestamps")
        if self.pts and frame.pts <= self.pts[-1]:
            raise SourceError(f"{self._name}: the timestamp of frame {number} does not come after the one before it")
        if self.pts:
            _check_duration(self._source, (frame.pts - self.pts[0]) * _time_base(self._source))
        return frame.pts

    def index(self, sha256: str) -> FrameIndex:
        if self._picture is None:
            raise SourceError(_no_frames(self._source.path))
        self._check_end()
        stream = self._source.stream
        time_base = _time_base(self._source)
        rate = constant_rate(self.pts, time_base, (stream.base_rate, stream.average_rate, stream.guessed_rate))
        duration = last_duration(self.pts, self._duration, time_base, rate)
        if duration is None:
            raise SourceError(f"{self._name}: has one frame and does not say how long it is shown")
        return FrameIndex(
            **_description(self._source, self._picture, beside=self._alpha),
            interlaced=self._interlaced,
            sha256=sha256,
            time_base=time_base,
            pts=tuple(self.pts),
            last_duration=duration,
            rate=rate or (1 / (duration * time_base) if len(self.pts) == 1 else None),
            cuts=self._cuts.cuts(),
        )

    def _check_end(self) -> None:
        """Matroska and MXF that were cut short decode without a word: hold the end against the stated duration."""
        stated = _stated_duration(self._source)
        if stated is None or not self._source.container.format.name.startswith(("matroska", "mxf")):
            return
        streams = self._source.container.streams
        found = max(end * (streams[number].time_base or 0) for number, end in self._ends.items())
        if found + _SLACK < stated:
            raise SourceError(
                f"{self._name}: ends after {float(found):.2f} s (frame {len(self.pts) - 1}), its header speaks of "
                f"{float(stated):.2f} s: the file is cut short. Copy or download it again"
            )


# -- headers ----------------------------------------------------------------------------------------------------------


def _description(source: Source, picture: Picture, *, beside: bool = False) -> dict[str, Any]:
    """The fields of a `FrameIndex` that headers and the first frame decide; `beside`: alpha lies beside the packets."""
    container = source.container
    width, height, ratio = picture.upright
    return {
        "size": source.path.stat().st_size if source.sequence is None else source.sequence.size,
        "container": _kind(container),
        "stream": source.stream.index,
        "codec": source.stream.codec_context.codec.canonical_name,
        "width": width,
        "height": height,
        "sample_aspect_ratio": ratio,
        "pixel_format": picture.computed_format,
        "bit_depth": picture.form.depth,
        "colour": picture.colour,
        "audio": tuple(map(_audio, container.streams.audio, count(1))),
        "timecode": tag_of(container, "timecode"),
        "reel": tag_of(container, "reel_name"),
        "not_carried": (*_not_carried(source), *picture.hidden),
        "rotation": picture.rotation,
        "alpha": picture.alpha or beside,
        "subtitles": tuple(_subtitles(stream) for stream in container.streams.subtitles),
        "chapters": len(container.chapters()),
        "mastering": picture.mastering,
    }


def _audio(stream: av.AudioStream, track: int) -> AudioStream:
    context: Any = stream.codec_context
    return AudioStream(
        index=stream.index,
        codec=context.codec.canonical_name if context else "unknown",
        rate=context.sample_rate if context else 0,
        channels=context.channels if context else 0,
        language=stream.metadata.get("language", ""),
        track=track,
    )


def _subtitles(stream: Any) -> SubtitleStream:
    context: Any = stream.codec_context
    codec = context.codec.canonical_name if context else "unknown"
    return SubtitleStream(stream.index, codec, stream.metadata.get("language", ""))


def tag_of(container: Any, name: str) -> str | None:
    """The tag, wherever the container keeps it: on itself, on the video or on a timecode track; any case."""
    for holder in (container, *container.streams):
        for key, value in holder.metadata.items():
            if key.lower() == name and value:
                return str(value)
    return None


def _kind(container: Any) -> str:
    """One demuxer reads QuickTime and MP4; the brand tells them apart, and old QuickTime files have none."""
    name = str(container.format.name.partition(",")[0])
    return "mp4" if name == "mov" and container.metadata.get("major_brand", "qt  ") != "qt  " else name


def _not_carried(source: Source) -> tuple[str, ...]:
    """Streams that no deliverable takes over, in words; timecode and chapter tracks are stated in other ways."""
    streams, chapters = source.container.streams, len(source.container.chapters())
    kept = {source.stream.index, *(stream.index for stream in (*streams.audio, *streams.subtitles))}
    return tuple(
        _called(stream)
        for stream in streams
        if stream.index not in kept
        and "timecode" not in stream.metadata
        and not (stream.type == "data" and chapters and stream.frames == chapters)
    )


def _called(stream: Any) -> str:
    if stream.disposition & av.stream.Disposition.attached_pic:
        return f"the cover picture in stream {stream.index}"
    name = stream.metadata.get("filename", "")
    return f"{stream.type} {name} in stream {stream.index}" if name else f"{stream.type} stream {stream.index}"


def _time_base(source: Source) -> Fraction:
    assert source.stream.time_base is not None
    return source.stream.time_base


def _stated_duration(source: Source) -> Fraction | None:
    """Seconds from zero to the end of the longest stream, by the header."""
    duration = source.container.duration
    return None if duration is None or duration <= 0 else Fraction(duration, av.time_base)


def _stated_rate(source: Source) -> Fraction | None:
    return source.stream.average_rate or source.stream.guessed_rate


def _stated_frames(source: Source) -> int | None:
    """The header's count, else duration times rate, else None."""
    if source.sequence is not None:
        return source.sequence.frames
    if source.stream.frames:
        return source.stream.frames
    rate, duration = _stated_rate(source), _stated_duration(source)
    return max(1, round(duration * rate)) if rate and duration else None


def _check_duration(source: Source, seconds: Fraction | None) -> None:
    if seconds is not None and seconds > source.limits.max_seconds:
        raise SourceError(
            f"{source.path}: {float(seconds):,.1f} s are more than the {source.limits.max_seconds:,} s that are "
            "allowed; raise limits.max_duration_hours if that is meant"
        )


def _no_frames(path: Path) -> str:
    return f"{path}: not a single frame could be decoded, there is nothing to edit. Check that the right file is named"
