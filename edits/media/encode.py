"""Writing a deliverable: one encoder, the source's own timestamps, its audio packets, its tags. Mixes no pixels."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from edits.errors import OutputError
from edits.media.ahead import Ahead
from edits.media.audio import carried, span_of
from edits.media.beside import carried_streams, kept_chapters, kept_metadata
from edits.media.boxes import state_grading
from edits.media.colour import tags_of
from edits.media.convert import Converter
from edits.media.deliverables import Deliverable, deliverable_for, muxer, writable_suffixes
from edits.media.files import aside, writing
from edits.media.formats import Plane
from edits.media.pictures import SUFFIX, pack, picture_pattern
from edits.media.pngchunks import state_in_pictures
from edits.media.reader import indexed_alpha, source_of
from edits.media.records import FrameIndex, StitchRequest
from edits.timecode import timecode_of

_LARGEST_TIMESCALE = 2**31 - 1
_KEPT_TAGS = ("language", "title", "handler_name", "comment")
"""Tags of a stream that belong to its content; others describe the old file."""

_FRAME_DURATION = 1 << 8
"""AV_CODEC_FLAG_FRAME_DURATION (libavcodec/avcodec.h): packets get the duration of their frame, not the mean one."""


class Writer:
    """Frames in, a finished file out. Written aside; `close` gives it its name. Use as a context manager."""

    def __init__(self, request: StitchRequest) -> None:
        """Open the file and what is carried from the source.

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
        self._folder = self._aside.with_suffix(".pictures")
        self._carried_source = source_of(request.source, request.index)
        self._stack = contextlib.ExitStack()
        self._alpha = self._stack.enter_context(_alpha_of(request)) if request.index.carries_alpha else None
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
        kind, options = muxer(deliverable_for(request.deliverable, request.index).codec, suffix)
        options |= _muxer_options(request.index, suffix)
        self._container = av.open(self._target(), "w", format=kind, options=options)
        self._video = self._video_stream(request)
        self._converter = Converter(request)
        streams = self._carried_source.container.streams
        numbers = carried_streams(request)
        self._carried = {number: self._copy_of(streams[number]) for number in numbers}
        if suffix != SUFFIX:
            self._container.metadata.update(kept_metadata(self._carried_source))
        if suffix != SUFFIX and (chapters := kept_chapters(self._carried_source, self._span)):
            self._container.set_chapters(chapters)
        self._packets = carried(self._carried_source, numbers, self._span)
        self._held = next(self._packets, None)

    def _target(self) -> str:
        """What the muxer writes: the file aside, or of pictures a folder aside, packed at the end."""
        if self.path.suffix != SUFFIX:
            return str(self._aside)
        self._folder.mkdir()
        return picture_pattern(self._folder, self.path)

    def _video_stream(self, request: StitchRequest) -> Any:
        """The stream; `_encoder` is what encodes it: its own, but where the stream is made after a model."""
        index, entry = request.index, deliverable_for(request.deliverable, request.index)
        tags = self._tags = tags_of(entry.colour(index))
        self._volume = _COLOUR_VOLUMES.get(tags.matrix, _ELSEWHERE) if entry.codec == "dnxhd" else None
        if self.path.suffix == ".mkv" and entry.codec == "ffv1" and index.mastering:
            context: Any = av.CodecContext.create(entry.codec, "w")
            context.framerate, context.options = average_rate(index), self._options(request, entry)
            self._describe(context, request, entry)
            self._encoder = context
            stream = self._container.add_stream_from_template(self._graded_model(request, entry))
        else:
            stream = self._added(self._container, request, entry)
            self._encoder = stream.codec_context
        stream.time_base = index.time_base
        stream.disposition = self._carried_source.stream.disposition
        stream.metadata.update(start_tags(index, request.start))
        return stream

    def _added(self, container: Any, request: StitchRequest, entry: Deliverable) -> Any:
        rate, options = average_rate(request.index), self._options(request, entry)
        stream: Any = container.add_stream(entry.codec, rate=rate, options=options)
        self._describe(stream.codec_context, request, entry)
        return stream

    def _options(self, request: StitchRequest, entry: Deliverable) -> dict[str, str]:
        return entry.options_for(request.index, request.encoder_threads, request.end - request.start)

    def _describe(self, context: Any, request: StitchRequest, entry: Deliverable) -> None:
        """Tell an encoder what the pictures are."""
        index, tags = request.index, self._tags
        context.width, context.height, context.pix_fmt = index.width, index.height, entry.pixel_format(index)
        context.time_base, context.sample_aspect_ratio = index.time_base, index.sample_aspect_ratio
        context.flags |= _FRAME_DURATION
        context.thread_count, context.thread_type = request.encoder_threads, "AUTO"
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if entry.codec == "libx265" and self.path.suffix != ".mkv":
            context.codec_tag = "hvc1"

    def _graded_model(self, request: StitchRequest, entry: Deliverable) -> Any:
        """A stream that states the grading. Matroska's muxer writes what a stream states, encoders here state nothing,
        and a stream that was read from an MP4 header does: so one of a single frame is written aside, and read."""
        path = self._stack.enter_context(_gone_afterwards(self._aside.with_suffix(".model.mp4")))
        with av.open(str(path), "w", format="mp4") as container:
            stream = self._added(container, request, entry)
            frame = av.VideoFrame(request.index.width, request.index.height, entry.pixel_format(request.index))
            frame.pts, frame.time_base = 0, request.index.time_base
            container.mux([*stream.encode(frame), *stream.encode()])
        assert request.index.mastering is not None
        state_grading(path, request.index.mastering)
        return self._stack.enter_context(av.open(str(path))).streams.video[0]

    def _copy_of(self, stream: Any) -> Any:
        copy = self._container.add_stream_from_template(stream)
        copy.metadata.update({key: stream.metadata[key] for key in _KEPT_TAGS if key in stream.metadata})
        copy.disposition = stream.disposition
        return copy

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, frame: av.VideoFrame, number: int) -> av.VideoFrame:
        """Encode `frame` as the source's frame `number`, at its time; gives the frame as the encoder got it."""
        pts, following = self._index.pts, number + 1
        picture = self._converter.convert(frame, next(self._alpha) if self._alpha is not None else None)
        picture.pict_type = 0
        self._tag(picture)
        picture.pts, picture.time_base = pts[number] - self._shift, self._index.time_base
        last = following == self._index.frames
        picture.duration = self._index.last_duration if last else pts[following] - pts[number]
        with writing(self.path):
            self._mux(self._encoder.encode(picture))
        return picture

    def _tag(self, picture: av.VideoFrame) -> None:
        """Some encoders (ProRes) write the frame's tags, others the context's: they are told the same."""
        picture.colorspace, picture.color_range = self._tags.matrix, self._tags.range
        picture.color_primaries, picture.color_trc = self._tags.primaries, self._tags.transfer

    def _mux(self, packets: list[av.Packet[Any]]) -> None:
        """Write video packets, and before each what is carried and belongs before it: muxers then hold little back."""
        for packet in packets:
            if self._volume is not None:
                _state_colour_volume(packet, self._volume)
            if packet.dts is not None:
                self._mux_carried(packet.dts * packet.time_base)
            packet.stream = self._video
            self._container.mux(packet)

    def _mux_carried(self, until: Fraction | None) -> None:
        while self._held is not None and (until is None or _time(self._held) <= until):
            self._held.stream = self._carried[self._held.stream_index]
            self._container.mux(self._held)
            self._held = next(self._packets, None)

    def close(self) -> None:
        """Write what the encoder holds and the rest of what is carried, finish the file and give it its name."""
        try:
            with writing(self.path):
                self._mux(self._encoder.encode(None))
                self._mux_carried(None)
                self._container.close()
                self._finish()
                self._aside.replace(self.path)
        finally:
            self.abandon()

    def _finish(self) -> None:
        """What is done to a file that is written: its grading is stated, pictures become an archive."""
        grading = self._index.mastering
        if grading and self.path.suffix in _BOXED:
            state_grading(self._aside, grading)
        if self.path.suffix == SUFFIX:
            if grading:
                state_in_pictures(self._folder, grading)
            pack(self._folder, self._aside)

    def abandon(self) -> None:
        """Let go of everything and delete what is not finished."""
        self._stack.close()
        self._carried_source.container.close()
        if hasattr(self, "_container"):
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()
        self._aside.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)


_BOXED = (".mp4", ".mov")
"""Containers whose header takes boxes of grading, whatever the codec."""


@contextlib.contextmanager
def _gone_afterwards(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alpha_of(request: StitchRequest) -> Iterator[Iterator[Plane]]:
    """The alpha channel of each frame of the range, by a decode of its own: few sources have one."""
    with source_of(request.source, request.index, alpha=True) as source:
        frames = itertools.islice(indexed_alpha(source, request.index), request.start, request.end)
        with Ahead(frames) as ahead:
            yield ahead


_COLOUR_VOLUMES = {1: 0, 9: 1}
"""VC-3's code of a colour matrix, by its number of ITU-T H.273."""
_ELSEWHERE = 3
_VOLUME_BYTE = 0x2C


def _state_colour_volume(packet: av.Packet[Any], volume: int) -> None:
    """ffmpeg's encoder leaves the colour volume of a VC-3 frame's header (SMPTE ST 2019-1) at BT.709, and decoders
    believe it before the container: it is written here. Matrices without a code are said to be stated elsewhere."""
    data = bytearray(packet)
    data[_VOLUME_BYTE] = data[_VOLUME_BYTE] & ~0b110 | volume << 1
    packet.update(bytes(data))


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
    if suffix in (".mkv", SUFFIX):
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


def _time(packet: av.Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if stamp is None else stamp * Fraction(packet.time_base)
