"""Chunk files: RGB frames in QuickTime, lossless, in order, without meaning of time. Written here, read here.

8-bit frames are MagicYUV, 16-bit ones FFV1; docs/decisions/0021-chunks-in-magicyuv.md says why. Older files, Matroska
with 8-bit frames as H.264 in its lossless RGB mode, are still read.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from edits.errors import StoreError, VerificationError
from edits.media.deliverables import muxer
from edits.media.files import aside, writing
from edits.media.formats import planes
from edits.media.structure import shortfall

Rgb = npt.NDArray[Any]
"""(H, W, 3), or (T, H, W, 3) for a clip: uint8, or uint16 over the full scale 0 to 65535."""

SUFFIX = ".mov"
"""Of a chunk file's name."""
_RATE = Fraction(25)
"""Containers want times; they mean nothing here."""

_CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "uint8": ("magicyuv", "gbrp", {"pred": "gradient", "slices": "1"}),
    "uint16": ("ffv1", "gbrp16le", {"level": "3", "slices": "4", "slicecrc": "1"}),
}
"""dtype -> encoder, pixel format, options. Frames of 8 bits stand alone: an overlap is read by itself."""

_THREADS = 2
"""Of a reader or writer. Fixed for the writer, so that equal frames are equal bytes on any machine."""

_READING = {
    "format_whitelist": "mov,matroska",
    "protocol_whitelist": "file",
    "probesize": "32768",
    "fpsprobesize": "0",
}
"""The files are our own: without the probing that strangers' files need, opening one takes a quarter of the time."""

_DETERMINISTIC = {"fflags": "+bitexact"}
"""No dates or random identifiers: equal frames give equal files, which stitching makes use of."""


_AGAIN = "delete it and make it again"


def _require_whole(path: Path) -> None:
    try:
        missing = shortfall(path)
    except OSError as error:
        raise VerificationError(f"{path}: not a chunk file, or not there ({error.strerror}); {_AGAIN}") from error
    if missing:
        raise VerificationError(f"{path}: the file is cut short: {missing}; {_AGAIN}")


class ChunkWriter:
    """Writes frames one by one, aside; `close` gives the file its name. A context manager that closes or abandons.

    Every method raises StoreError when the disk is full and OutputError when the folder cannot be written.
    """

    def __init__(self, path: Path, width: int, height: int, dtype: str = "uint8") -> None:
        self.path = path
        self.frames = 0
        codec, self._format, options = _CODECS[dtype]
        self._shape, self._dtype = (height, width, 3), dtype
        self._aside = aside(path)
        with writing(path):
            kind, options_of_kind = muxer(codec, SUFFIX)
            self._container = av.open(str(self._aside), "w", format=kind, options=_DETERMINISTIC | options_of_kind)
            stream: Any = self._container.add_stream(codec, rate=_RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, self._format
        stream.codec_context.thread_count = _THREADS
        self._stream = stream

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def write(self, frame: Rgb) -> None:
        """Append one (H, W, 3) frame.

        Raises:
            ValueError: another shape or dtype than the file's.
        """
        if frame.shape != self._shape or frame.dtype.name != self._dtype:
            raise ValueError(f"a frame of {self._shape} {self._dtype} is expected, not {frame.shape} {frame.dtype}")
        picture = self._picture(np.ascontiguousarray(frame))
        picture.pts, picture.time_base = self.frames, 1 / _RATE
        with writing(self.path):
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def _picture(self, frame: Rgb) -> av.VideoFrame:
        picture = av.VideoFrame(self._shape[1], self._shape[0], self._format)
        for target, channel in zip(planes(picture), (1, 2, 0), strict=True):
            cv2.extractChannel(frame, channel, dst=target)
        return picture

    def close(self) -> None:
        """Write what the encoder still holds and the index, check the count, and give the file its name."""
        try:
            with writing(self.path):
                self._container.mux(self._stream.encode())
                self._container.close()
            if (found := count_frames(self._aside)) != self.frames:
                raise StoreError(
                    f"{self.path}: {found} of {self.frames} frames reached the disk; check it and try again"
                )
            with writing(self.path):
                self._aside.replace(self.path)
        finally:
            self._aside.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Delete a file that will not be finished."""
        with contextlib.suppress(FFmpegError, OSError):
            self._container.close()
        self._aside.unlink(missing_ok=True)


class ChunkReader:
    """Reads frames in order. Use as a context manager."""

    def __init__(self, path: Path, threads: int = _THREADS) -> None:
        """Open a chunk file. With one thread no frame is decoded beyond the last that is asked for.

        Raises:
            VerificationError: not a chunk file.
        """
        self.path = path
        _require_whole(path)
        try:
            self._container = av.open(f"file:{path}", options=dict(_READING))
            self._stream = self._container.streams.video[0]
        except (FFmpegError, IndexError) as error:
            raise VerificationError(f"{path}: not a chunk file, or not there ({error}); {_AGAIN}") from error
        self._stream.thread_type = "AUTO"
        self._stream.thread_count = threads
        self._seen = 0
        self._packets = self._demuxed()

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._stream.codec_context.width, self._stream.codec_context.height

    def frames(self, first: int = 0) -> Iterator[Rgb]:
        """Each frame from number `first` on as (H, W, 3); of those before it only what it needs is decoded. Call once.

        Raises:
            VerificationError: the file is damaged, or holds something else than RGB.
        """
        number, needed = self._up_to(first)
        for packet in itertools.chain(needed, self._packets):
            for frame in self._decoded(packet):
                if frame.is_corrupt:
                    raise VerificationError(f"{self.path}: a frame before {self._seen} is damaged; {_AGAIN}")
                if number >= first:
                    yield self._rgb(frame)
                number += 1

    def _up_to(self, first: int) -> tuple[int, list[av.Packet[Any]]]:
        """The number of the last key frame at or before number `first`, and the packets from that one to `first`."""
        number = 0
        needed: list[av.Packet[Any]] = []
        for place, packet in enumerate(itertools.islice(self._packets, first + 1)):
            if packet.is_keyframe:
                number, needed = place, []
            needed.append(packet)
        return number, needed

    def frames_in(self, wanted: range) -> Iterator[tuple[int, Rgb]]:
        """(number in the file, (H, W, 3)) of each frame of a range that is there, decoded from the key frame before it.

        May be called again for another range; `frames` and `count` are of no use then.

        Raises:
            VerificationError: the file is damaged, or holds something else than RGB.
        """
        base = self._stream.time_base
        assert base is not None
        try:
            self._container.seek(round(wanted.start / _RATE / base), stream=self._stream)
        except FFmpegError as error:
            raise self._unreadable(error) from error
        for packet in self._demuxed():
            for frame in self._decoded(packet):
                number = round((frame.pts or 0) * base * _RATE)
                if number in wanted:
                    yield number, self._rgb(frame)
                if number + 1 >= wanted.stop:
                    return

    def count(self) -> int:
        """Number of frames in the file, by reading what is left of it without decoding. No frames come after this."""
        for _ in self._packets:
            pass
        return self._seen

    def _demuxed(self) -> Iterator[av.Packet[Any]]:
        try:
            for packet in self._container.demux(self._stream):
                self._seen += packet.size > 0
                yield packet
        except FFmpegError as error:
            raise self._unreadable(error) from error

    def _decoded(self, packet: av.Packet[Any]) -> list[av.VideoFrame]:
        try:
            return self._stream.decode(packet)
        except MemoryError:
            raise
        except FFmpegError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: FFmpegError) -> VerificationError:
        return VerificationError(f"{self.path}: cannot be read near frame {self._seen} ({error.strerror}); {_AGAIN}")

    def _rgb(self, frame: av.VideoFrame) -> Rgb:
        if frame.format.name not in ("gbrp", "gbrp16le"):
            raise VerificationError(f"{self.path}: holds {frame.format.name} pictures, not RGB: not a chunk file")
        green, blue, red = planes(frame)
        return np.asarray(cv2.merge([red, green, blue]))


def write_chunk(path: Path, frames: Rgb) -> None:
    """Write a clip; the file appears under its name when it is whole.

    Args:
        frames: (T, H, W, 3) RGB, uint8 or uint16, at least one frame.

    Raises:
        ValueError: another shape or dtype.
        StoreError: no room on the disk.
        OutputError: the folder cannot be written.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames) or frames.dtype.name not in _CODECS:
        raise ValueError(f"a clip is (T, H, W, 3) RGB in uint8 or uint16, not {frames.shape} {frames.dtype}")
    with ChunkWriter(path, frames.shape[2], frames.shape[1], frames.dtype.name) as writer:
        for frame in frames:
            writer.write(frame)


def read_chunk(path: Path) -> Rgb:
    """The whole clip as (T, H, W, 3).

    Raises:
        VerificationError: not a chunk file, damaged, or empty.
    """
    with ChunkReader(path) as reader:
        frames = list(reader.frames())
    if not frames:
        raise VerificationError(f"{path}: holds no frames; delete it and make it again")
    return np.stack(frames)


def count_frames(path: Path) -> int:
    """Number of frames, by reading packets without decoding them.

    Raises:
        VerificationError: not a chunk file.
    """
    with ChunkReader(path) as reader:
        return reader.count()
