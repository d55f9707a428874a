"""Writing a deliverable: one encoder, the source's own timestamps, its audio packets, its tags. Mixes no pixels."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter

from edits.errors import CellError, OutputError
from edits.media.audio import carried, span_of
from edits.media.colour import tags_of
from edits.media.deliverables import DELIVERABLES, muxer, writable_suffixes
from edits.media.files import aside, writing
from edits.media.reader import Source
from edits.media.records import FrameIndex, StitchRequest
from edits.timecode import DROP_FRAME_RATES, Timecode, count, nominal_rate, parse_position, timecode_at, written

_LARGEST_TIMESCALE = 2**31 - 1
_KEPT_TAGS = ("language", "title", "handler_name")
"""Tags of an audio stream that belong to its content; others describe the old file."""

_RESAMPLER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_FRAME_DURATION = 1 << 8
"""AV_CODEC_FLAG_FRAME_DURATION (libavcodec/avcodec.h): packets get the duration of their frame, not the mean one."""


class Writer:
    """Frames in, a finished file out. Written aside; `close` gives it its name. Use as a context manager."""

    def __init__(self, request: StitchRequest) -> None:
        """Open the file and the source's audio.

        Raises:
            OutputError: a container that cannot hold this source's times or audio, or a folder that cannot be written.
            StoreError: no room on the disk.
        """
        self.path = Path(request.output)
        _check_container(request)
        self._index = request.index
        self._span = span_of(request.index, request.start, request.end)
        self._shift = int(self._span.shift / request.index.time_base)
        self._aside = aside(self.path)
        self._audio_source = Source(Path(request.source))
        try:
            with writing(self.path):
                self._open(request)
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self, request: StitchRequest) -> None:
        suffix = self.path.suffix
        kind, options = muxer(request.deliverable, suffix)
        options |= _muxer_options(request.index, suffix)
        self._container = av.open(str(self._aside), "w", format=kind, options=options)
        self._video = self._video_stream(request)
        self._formatter = _Formatter(request)
        inputs = self._audio_source.container.streams.audio
        self._audio = {stream.index: self._audio_stream(stream) for stream in inputs}
        self._packets = carried(self._audio_source, self._span)
        self._held = next(self._packets, None)

    def _video_stream(self, request: StitchRequest) -> Any:
        index, entry = request.index, DELIVERABLES[request.deliverable]
        stream: Any = self._container.add_stream(
            entry.codec, rate=average_rate(index), options=entry.options_for(index)
        )
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = index.width, index.height, entry.pixel_format(index)
        stream.time_base = context.time_base = index.time_base
        context.sample_aspect_ratio = index.sample_aspect_ratio
        context.flags |= _FRAME_DURATION
        context.thread_count, context.thread_type = request.encoder_threads, "AUTO"
        tags = self._tags = tags_of(entry.colour(index))
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        stream.metadata.update(start_tags(index, request.start))
        return stream

    def _audio_stream(self, stream: Any) -> Any:
        copy = self._container.add_stream_from_template(stream)
        copy.metadata.update({key: stream.metadata[key] for key in _KEPT_TAGS if key in stream.metadata})
        copy.disposition = stream.disposition
        return copy

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, frame: av.VideoFrame, number: int) -> None:
        """Encode `frame` as the source's frame `number`, at its time."""
        pts, following = self._index.pts, number + 1
        picture = self._formatter.convert(frame)
        picture.pict_type = 0
        self._tag(picture)
        picture.pts, picture.time_base = pts[number] - self._shift, self._index.time_base
        last = following == self._index.frames
        picture.duration = self._index.last_duration if last else pts[following] - pts[number]
        with writing(self.path):
            self._mux(self._video.encode(picture))

    def _tag(self, picture: av.VideoFrame) -> None:
        """Some encoders (ProRes) write the frame's tags, others the context's: they are told the same."""
        picture.colorspace, picture.color_range = self._tags.matrix, self._tags.range
        picture.color_primaries, picture.color_trc = self._tags.primaries, self._tags.transfer

    def _mux(self, packets: list[av.Packet[Any]]) -> None:
        """Write video packets, and before each the audio that belongs before it: muxers then hold little back."""
        for packet in packets:
            if packet.dts is not None:
                self._mux_audio(packet.dts * packet.time_base)
            self._container.mux(packet)

    def _mux_audio(self, until: Fraction | None) -> None:
        while self._held is not None and (until is None or _time(self._held) <= until):
            self._held.stream = self._audio[self._held.stream_index]
            self._container.mux(self._held)
            self._held = next(self._packets, None)

    def close(self) -> None:
        """Write what the encoder holds and the rest of the audio, finish the file and give it its name."""
        try:
            with writing(self.path):
                self._mux(self._video.encode())
                self._mux_audio(None)
                self._container.close()
                self._aside.replace(self.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of everything and delete what is not finished."""
        self._audio_source.container.close()
        if hasattr(self, "_container"):
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()
        self._aside.unlink(missing_ok=True)


class _Formatter:
    """From the source's pixel format and range to the deliverable's; most deliverables need nothing."""

    def __init__(self, request: StitchRequest) -> None:
        entry, index = DELIVERABLES[request.deliverable], request.index
        before, after = tags_of(index.colour), tags_of(entry.colour(index))
        self._format = entry.pixel_format(index)
        self._target: dict[str, Any] = {
            "format": self._format,
            "interpolation": _RESAMPLER,
            "src_color_range": before.range,
            "dst_color_range": after.range,
            "threads": 1,
        }
        self._same_range = before.range == after.range
        self._reformatter = VideoReformatter()

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.format.name == self._format and self._same_range:
            return frame
        return self._reformatter.reformat(frame, **self._target)


def _check_container(request: StitchRequest) -> None:
    suffix = Path(request.output).suffix
    possible = writable_suffixes(request.deliverable, request.index)
    if suffix not in possible:
        raise OutputError(
            f"{request.output}: {suffix or 'no suffix'} cannot hold deliverable {request.deliverable} of this source; "
            f"possible: {', '.join(possible) or 'none, choose another deliverable'}"
        )


def _muxer_options(index: FrameIndex, suffix: str) -> dict[str, str]:
    """Timescales in which every offset and timestamp is a whole number; no dates or random identifiers."""
    options = {"fflags": "+bitexact"}
    if suffix == ".mkv":
        return options
    scale = index.time_base.denominator
    common = lcm(scale, *(stream.rate for stream in index.audio if stream.rate))
    movie = common if common <= _LARGEST_TIMESCALE else scale
    return {**options, "video_track_timescale": str(scale), "movie_timescale": str(movie)}


def average_rate(index: FrameIndex) -> Fraction:
    """Frames a second: the constant rate, else the mean, which encoders use for their rate control only."""
    return index.rate or Fraction(index.frames / index.duration).limit_denominator(1 << 20)


def start_tags(index: FrameIndex, start: int) -> dict[str, str]:
    """Timecode of frame `start`, and the reel; empty where the source states none or its count cannot be continued."""
    timecode = timecode_of(index, start)
    if timecode is None:
        return {}
    return {"timecode": timecode, **({"reel_name": index.reel} if index.reel else {})}


def timecode_of(index: FrameIndex, start: int) -> str | None:
    """The source's timecode at frame `start`; None without a start timecode or a rate that timecode counts."""
    if index.timecode is None or index.rate is None:
        return None
    try:
        first = parse_position(index.timecode)
        nominal = nominal_rate(index.rate)
        if not isinstance(first, Timecode) or not nominal:
            return None
        if first.drop and (index.rate.denominator == 1 or nominal not in DROP_FRAME_RATES):
            return None
        return written(timecode_at(count(first, nominal) + start, nominal, first.drop))
    except CellError:
        return None


def _time(packet: av.Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if stamp is None else stamp * Fraction(packet.time_base)
