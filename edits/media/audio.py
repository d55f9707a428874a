"""Which packets of sound and subtitles a deliverable carries, bit for bit, and at what times. Decodes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from edits.errors import SourceError
from edits.media.reader import Source
from edits.media.records import FrameIndex, StreamDigest

_PCM_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "64": 8}


@dataclass(frozen=True)
class Span:
    """The time that a deliverable covers, in seconds of the source's clock."""

    start: Fraction
    end: Fraction
    shift: Fraction
    """Taken off every timestamp: 0 for a whole source, so that its start offset stays."""
    whole: bool


def span_of(index: FrameIndex, start: int, end: int) -> Span:
    """The span of frames `[start, end)`."""
    base = index.time_base
    last = index.pts[end] if end < index.frames else index.pts[-1] + index.last_duration
    begin = index.pts[start] * base
    whole = (start, end) == (0, index.frames)
    keeps_offset = whole and begin >= 0
    return Span(begin, last * base, Fraction(0) if keeps_offset else begin, whole)


def carried(source: Source, numbers: Collection[int], span: Span) -> Iterator[av.Packet[Any]]:
    """The packets of the streams `numbers` in the span, shifted, in file order. `source` is read to its end for this.

    A whole source gives every packet as it is. Of a part, PCM is cut to the sample; of coded audio every packet that
    touches the span is kept, and one before it, which a decoder needs to start cleanly: the container hides it. Of
    subtitles, what is shown within the span is kept, from its start on.

    Raises:
        SourceError: the file cannot be read on.
    """
    tracks = {}
    for stream in source.container.streams:
        if stream.index in numbers:
            tracks[stream.index] = _track(stream, span)
        else:
            stream.discard = av.stream.Discard.all
    for packet in source.packets():
        if packet.size and packet.stream_index in tracks:
            yield from tracks[packet.stream_index].take(packet)


def summed(source: Source, numbers: Sequence[int], span: Span) -> tuple[StreamSum, ...]:
    """One sum for each of `numbers`, over the packets that `carried` gives."""
    sums = {number: StreamSum(source.container.streams[number]) for number in numbers}
    for packet in carried(source, numbers, span):
        sums[packet.stream_index].add(packet)
    return tuple(sums.values())


class StreamSum:
    """What is compared of a stream: a digest of its payloads (without packet borders: PCM is regrouped), its start."""

    def __init__(self, stream: Any) -> None:
        self.kind: str = stream.type
        self._codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
        self._sha256 = hashlib.sha256()
        self._packets = 0
        self.language = stream.metadata.get("language", "")
        self.start: Fraction | None = None
        """Seconds, of the first packet; None without packets."""

    def add(self, packet: av.Packet[Any]) -> None:
        self._packets += 1
        self._sha256.update(packet)
        if self.start is None and packet.pts is not None:
            self.start = packet.pts * Fraction(packet.time_base)

    def digest(self) -> StreamDigest:
        return StreamDigest(self.kind, self._codec, self._packets, self._sha256.hexdigest())


# -- one stream -------------------------------------------------------------------------------------------------------


class _Whole:
    """All packets."""

    def __init__(self, stream: Any, span: Span) -> None:
        self._shift = round(span.shift / stream.time_base)

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        yield _shifted(packet, self._shift)


class _Coded:
    """The packets that touch the span, and one before."""

    def __init__(self, stream: Any, span: Span) -> None:
        self._start, self._end = span.start / stream.time_base, span.end / stream.time_base
        self._shift = round(span.shift / stream.time_base)
        self._before: av.Packet[Any] | None = None

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        if packet.pts is None:
            raise SourceError(f"audio stream {packet.stream_index} has packets without timestamps; rewrap the file")
        if packet.pts + (packet.duration or 0) <= self._start:
            self._before = packet
        elif packet.pts < self._end:
            if self._before is not None:
                yield _shifted(self._before, self._shift)
                self._before = None
            yield _shifted(packet, self._shift)


class _Pcm:
    """The samples of the span, to the nearest sample."""

    def __init__(self, stream: Any, span: Span) -> None:
        context = stream.codec_context
        bits = "".join(filter(str.isdigit, context.codec.canonical_name))
        self._width = context.channels * _PCM_BYTES[bits]
        self._rate = context.sample_rate
        self._base = stream.time_base
        self._first, self._last = round(span.start * self._rate), round(span.end * self._rate)
        self._shift = self._first
        self._next: int | None = None

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        data = bytes(packet)
        position = self._position(packet)
        samples = len(data) // self._width
        self._next = position + samples
        begin, end = max(self._first - position, 0), min(self._last - position, samples)
        if begin < end:
            yield self._cut(packet, data[begin * self._width : end * self._width], position + begin)

    def _position(self, packet: av.Packet[Any]) -> int:
        """Sample number of the packet's first. Containers with coarse times (Matroska) are counted, not read."""
        stated = round(packet.pts * self._base * self._rate) if packet.pts is not None else None
        if self._next is None or (stated is not None and self._base * self._rate == 1):
            return stated or 0
        return self._next

    def _cut(self, packet: av.Packet[Any], data: bytes, position: int) -> av.Packet[Any]:
        part = av.Packet(data)
        part.stream = packet.stream
        part.time_base = Fraction(1, self._rate)
        part.pts = part.dts = position - self._shift
        part.duration = len(data) // self._width
        part.is_keyframe = True
        return part


class _Shown:
    """Subtitles that are seen within the span; those that began before it begin with it."""

    def __init__(self, stream: Any, span: Span) -> None:
        self._start, self._end = span.start / stream.time_base, span.end / stream.time_base
        self._shift = round(span.shift / stream.time_base)

    def take(self, packet: av.Packet[Any]) -> Iterator[av.Packet[Any]]:
        if packet.pts is None:
            return
        end = packet.pts + (packet.duration or 0)
        if packet.pts < self._end and end > self._start:
            begin, end = max(packet.pts, round(self._start)), min(end, round(self._end))
            packet.pts = packet.dts = begin
            packet.duration = end - begin
            yield _shifted(packet, self._shift)


def _track(stream: Any, span: Span) -> _Whole | _Coded | _Pcm | _Shown:
    if span.whole:
        return _Whole(stream, span)
    if stream.type == "subtitle":
        return _Shown(stream, span)
    name = stream.codec_context.codec.canonical_name
    if name.startswith("pcm_") and any(character.isdigit() for character in name):
        return _Pcm(stream, span)
    return _Coded(stream, span)


def _shifted(packet: av.Packet[Any], ticks: int) -> av.Packet[Any]:
    if ticks:
        packet.pts = None if packet.pts is None else packet.pts - ticks
        packet.dts = None if packet.dts is None else packet.dts - ticks
    return packet
