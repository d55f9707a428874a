"""Opening a file that nobody vouches for and decoding it in order: the only place that reads video with PyAV.

Allowed demuxers and the `file` protocol only, so that a playlist or a script in video's clothing opens nothing else.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.error import FFmpegError

from edits.errors import SourceError
from edits.media.formats import Plane
from edits.media.pictures import SUFFIX, unpack
from edits.media.present import alpha_planes, presented
from edits.media.records import FrameIndex, Limits
from edits.sequence import Sequence, picture_of_sequence, sequence_of

FORMATS = "mov,matroska,mxf"
"""Demuxers, by ffmpeg's names: MP4, MOV and their kin; Matroska and WebM; MXF."""

_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
_STRICT = "crccheck+explode"
"""Damage raises instead of being painted over."""
_DETECTION = {"tiff": "crccheck"}
"""The decoder of TIFF takes every tag that it does not know for damage, and most files have one."""

KINDS = "MP4, MOV, Matroska, WebM and MXF"

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""ffmpeg's own decoders of these read the picture and drop the alpha channel that lies beside it, without a word."""


class Source:
    """A file with one video stream, open for reading. Use as a context manager."""

    def __init__(
        self, path: Path, limits: Limits | None = None, *, alpha: bool = False, rate: Fraction | None = None
    ) -> None:
        """Open `path`; with `alpha`, frames come with their alpha channel also where decoders would drop it. A sequence
        of pictures is shown at `rate`.

        Raises:
            SourceError: missing, unreadable, of a kind that is not read, or without one video stream.
        """
        self.path = path
        self.limits = limits or Limits()
        self.sequence = sequence_of(path)
        self.container = _open(path) if self.sequence is None else _open_sequence(self.sequence, rate)
        try:
            self.stream = self._video_stream()
            self._check_size(self.stream.codec_context.width, self.stream.codec_context.height)
        except SourceError:
            self.container.close()
            raise
        self._decoder: Any = self._alpha_decoder() if alpha else None
        for context in (self.stream, self._decoder):
            if context is not None:
                context.thread_type = "AUTO"
        context = self._decoder or self.stream.codec_context
        detection = _DETECTION.get(context.codec.canonical_name, _STRICT)
        context.options = {"err_detect": detection, "max_pixels": str(self.limits.max_pixels)}

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()

    def _video_stream(self) -> av.VideoStream:
        attached = av.stream.Disposition.attached_pic
        streams = [stream for stream in self.container.streams.video if not stream.disposition & attached]
        if len(streams) == 1:
            return streams[0]
        if streams:
            raise SourceError(
                f"{self.path}: has {len(streams)} video streams, and samaflow cannot know which is meant; "
                "write a file with one of them (ffmpeg -map 0:v:0 -map 0:a -c copy)"
            )
        what = "only an attached picture" if self.container.streams.video else "no video stream"
        raise SourceError(f"{self.path}: there is {what} in it, nothing to edit. Check that the right file is named")

    def _alpha_decoder(self) -> Any:
        """The decoder that keeps alpha, where the stream's own one does not; else None."""
        name = _ALPHA_DECODERS.get(self.stream.codec_context.codec.canonical_name)
        return av.CodecContext.create(name, "r") if name else None

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise SourceError(
                f"{self.path}: {width} x {height} pixels are more than the {self.limits.max_pixels:,} that are "
                "allowed; raise limits.max_pixels if that is meant"
            )

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Every packet of every stream that is not discarded, in file order, then an empty one a stream.

        Raises:
            SourceError: the file cannot be read on.
        """
        try:
            yield from self.container.demux()
        except MemoryError:
            raise
        except FFmpegError as error:
            raise SourceError(f"{self.path}: cannot be read to its end ({error.strerror}). {_AGAIN}") from error

    def frames(self, seen: Callable[[av.Packet[Any]], None] | None = None) -> Iterator[av.VideoFrame]:
        """Every frame of the video stream in decode order. With `seen`, other streams are read too and shown to it.

        Raises:
            SourceError: damage; the message has the number of the frame.
        """
        number = 0
        for packet in self._wanted(seen):
            for frame in self._decoded(packet, number):
                if frame.is_corrupt:
                    raise SourceError(f"{self.path}: frame {number} is damaged. {_AGAIN}")
                yield frame
                number += 1

    def _decoded(self, packet: av.Packet[Any], number: int) -> list[av.VideoFrame]:
        if packet.is_corrupt:
            raise SourceError(f"{self.path}: the data of frame {number} or one shortly after is damaged. {_AGAIN}")
        try:
            if self._decoder is not None:
                return list(self._decoder.decode(packet if packet.size else None))
            return self.stream.decode(packet)
        except MemoryError:
            raise
        except FFmpegError as error:
            where = f"damaged at frame {number} or shortly after"
            raise SourceError(f"{self.path}: {where} ({error.strerror}). {_AGAIN}") from error

    def _wanted(self, seen: Callable[[av.Packet[Any]], None] | None) -> Iterator[av.Packet[Any]]:
        if seen is None:
            for stream in self.container.streams:
                if stream is not self.stream:
                    stream.discard = av.stream.Discard.all
        for packet in self.packets():
            if seen is not None:
                seen(packet)
            if packet.stream is self.stream:
                yield packet


_AGAIN = "Copy or download the file again, or cut the damaged part off"


def _open(path: Path) -> av.container.InputContainer:
    try:
        return av.open(f"file:{path}", options=dict(_OPTIONS), metadata_errors="replace")
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if isinstance(error, PermissionError) and path.is_file() and _readable(path):
            raise SourceError(_not_a_video(path)) from error
        raise SourceError(f"{path}: cannot be opened: {error.strerror}. Check the path and its rights") from error
    except MemoryError:
        raise
    except EOFError as error:
        raise SourceError(f"{path}: ends before its first frame, there is nothing to edit. {_AGAIN}") from error
    except FFmpegError as error:
        raise SourceError(_not_a_video(path)) from error


def _open_sequence(sequence: Sequence, rate: Fraction | None) -> av.container.InputContainer:
    if rate is None:
        raise SourceError(
            f"{sequence.folder}: a sequence of pictures does not say how many are shown a second: write it into the "
            "column rate, e.g. 24 or 24000/1001"
        )
    options = {
        "protocol_whitelist": "file",
        "pattern_type": "sequence",
        "start_number": str(sequence.first),
        "framerate": f"{rate.numerator}/{rate.denominator}",
    }
    try:
        return av.open(f"file:{sequence.pattern}", format="image2", options=options)
    except FFmpegError as error:
        raise SourceError(f"{sequence.files[0]}: not a picture that is read ({error.strerror}). {_AGAIN}") from error


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _not_a_video(path: Path) -> str:
    if pictures := picture_of_sequence(path):
        return f"{path}: one picture, not a video. For the sequence that it is of write {pictures}"
    return (
        f"{path}: not a video file that samaflow reads ({KINDS}), whatever its name says. "
        "Play it to see what it is; other video can be rewrapped without loss (ffmpeg -i IN -c copy OUT.mkv)"
    )


def indexed_frames(source: Source, index: FrameIndex) -> Iterator[av.VideoFrame]:
    """The source's frames as they are shown, each held against its index: what was planned is what is read.

    Raises:
        SourceError: another timestamp, picture size or count than when the file was indexed.
    """
    return presented(_indexed(source, index), index)


def source_of(path: str, index: FrameIndex, *, alpha: bool = False) -> Source:
    """The source that `index` describes, open.

    Raises:
        SourceError: it cannot be opened.
    """
    return Source(Path(path), alpha=alpha, rate=index.rate if index.is_sequence else None)


@contextlib.contextmanager
def opened_deliverable(output: str, index: FrameIndex) -> Iterator[Source]:
    """A deliverable of the source that `index` describes; an archive of pictures is unpacked beside itself meanwhile.

    Raises:
        SourceError: it cannot be opened, or the archive is damaged.
    """
    path, folder = Path(output), Path(f"{output}.pictures")
    try:
        if not output.endswith(SUFFIX):
            source = Source(path)
        else:
            source = Source(unpack(path, folder), rate=index.rate)
        with source:
            yield source
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{path}: not an archive of pictures, or a damaged one ({error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def indexed_alpha(source: Source, index: FrameIndex) -> Iterator[Plane]:
    """The alpha channel of each frame, upright. `source` was opened with `alpha`.

    Raises:
        SourceError: as `indexed_frames`.
    """
    return alpha_planes(_indexed(source, index), index)


def _indexed(source: Source, index: FrameIndex) -> Iterator[av.VideoFrame]:
    number = 0
    for number, frame in enumerate(source.frames()):
        known = index.pts[number] if number < index.frames else None
        if frame.pts != known or (frame.width, frame.height) != index.stored_size:
            raise SourceError(f"{source.path}: frame {number} is not the one that was indexed. {_CHANGED}")
        yield frame
    if number + 1 != index.frames:
        raise SourceError(f"{source.path}: has {number + 1} frames, {index.frames} were indexed. {_CHANGED}")


_CHANGED = "The file has changed since; run again to index it anew"
