"""The review copy: source and result in ONE picture of one H.264 file, so that a player cannot show them apart.

A landscape picture has the source above the result, a tall one has it to the left; the mask, where there is one, comes
after them. Each frame keeps its own time; a short GOP without B-frames makes any frame quick to reach. 8-bit BT.709,
for looking, not for measuring.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter

from edits.errors import SourceError
from edits.media.chunkfile import ChunkReader
from edits.media.colour import MATRICES, tags_of
from edits.media.encode import average_rate
from edits.media.files import aside, writing
from edits.media.formats import as_rgb, planes
from edits.media.reader import indexed_frames, opened_deliverable, source_of
from edits.media.records import FrameIndex, Progress, ReviewRequest, ReviewSpan

LONGEST_SIDE = 960
"""Pixels of each part at most: three of them in one picture stay within what every browser decodes in hardware."""
GOP = 12
CRF = "21"
SOUND = 48_000
"""Samples a second of the copy's sound."""
_QUALITY = 84
_BT709 = MATRICES["bt709"]


@dataclass(frozen=True)
class Layout:
    """Where the parts of a picture lie."""

    width: int
    """Of one part, as `height`: even, pixels square."""
    height: int
    below: bool
    """The result lies below the source, else to its right; the mask on the result's other side."""

    def size(self, parts: int) -> tuple[int, int]:
        """Of the whole picture."""
        return (self.width, parts * self.height) if self.below else (parts * self.width, self.height)


def layout_of(index: FrameIndex) -> Layout:
    """The parts of a source's review copy: as it is shown, never enlarged."""
    shown = index.width * index.sample_aspect_ratio
    scale = min(Fraction(1), LONGEST_SIDE / max(Fraction(shown), Fraction(index.height)))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (shown, index.height))
    return Layout(width, height, below=width >= height)


def write_review(request: ReviewRequest, progress: Progress) -> None:
    """Write `request.output` and the pictures of its contact sheet.

    Raises:
        SourceError: source or result cannot be read, or they do not have the frames that were asked for.
        VerificationError: a chunk file that is damaged.
        OutputError, StoreError: the copy cannot be written.
    """
    layout = layout_of(request.index)
    total = sum(span.end - span.start for span in request.spans)
    done = 0
    with _Copy(request, layout) as copy:
        for number, parts in _pictures(request):
            picture = copy.write(number, parts)
            if number in request.contacts:
                _write_contact(request, layout, number, picture)
            done += 1
            progress(done, total)
    if done != total:
        raise SourceError(f"{request.result}: {done} frames, {total} were to be shown; run the job again")


# -- reading ----------------------------------------------------------------------------------------------------------

_Parts = tuple[av.VideoFrame, ...]
"""Source, result and, where there is one, mask of a frame."""


def _pictures(request: ReviewRequest) -> Iterator[tuple[int, _Parts]]:
    """Every frame that is shown, with its number in the source."""
    if request.result:
        yield from _of_deliverable(request)
    else:
        for span in request.spans:
            yield from _of_chunk(span)


def _of_deliverable(request: ReviewRequest) -> Iterator[tuple[int, _Parts]]:
    (span,) = request.spans
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(source_of(request.source, request.index))
        result = stack.enter_context(opened_deliverable(request.result, request.index))
        made = {request.result: result.frames()}
        if request.mask:
            made[request.mask] = _masks(stack.enter_context(av.open(request.mask)))
        skipped = span.start - request.result_start
        beside = {path: itertools.islice(frames, skipped, None) for path, frames in made.items()}
        for number, frame in enumerate(indexed_frames(source, request.index)):
            if span.start <= number < span.end:
                yield number, (frame, *(_next(path, frames, number) for path, frames in beside.items()))


def _next(path: str, frames: Iterator[av.VideoFrame], number: int) -> av.VideoFrame:
    frame = next(frames, None)
    if frame is None:
        raise SourceError(f"{path}: ends before frame {number}; run the job again")
    return frame


def _masks(container: Any) -> Iterator[av.VideoFrame]:
    for frame in container.decode(video=0):
        yield _rgb(cv2.cvtColor(planes(frame)[0], cv2.COLOR_GRAY2RGB))


def _of_chunk(span: ReviewSpan) -> Iterator[tuple[int, _Parts]]:
    """A chunk's own files, at working size: what a preview has."""
    with ChunkReader(Path(span.input)) as before, ChunkReader(Path(span.output)) as after:
        for number, (source, result) in enumerate(zip(before.frames(), after.frames(), strict=False), span.first):
            if span.start <= number < span.end:
                yield number, (_rgb(source), _rgb(result))


def _rgb(picture: Any) -> av.VideoFrame:
    eight = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(eight), format="rgb24")


# -- writing ----------------------------------------------------------------------------------------------------------


class _Copy:
    """The review copy while it is written: aside, and under its name once it is whole."""

    def __init__(self, request: ReviewRequest, layout: Layout) -> None:
        self._path = Path(request.output)
        self._aside = aside(self._path)
        self._index = request.index
        self._layout = layout
        self._parts = [_Part(request.index, layout) for _ in range(3 if request.mask else 2)]
        self._clock = 0
        options = {"movflags": "+faststart", "video_track_timescale": str(request.index.time_base.denominator)}
        with writing(self._path):
            self._container = av.open(str(self._aside), "w", format="mp4", options=options)
            self._video = self._video_stream()
            self._sound = _Sound(self._container, request)

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            with writing(self._path):
                if kind is None:
                    self._container.mux(self._video.encode())
                    self._sound.write(None)
                with contextlib.suppress(*(() if kind is None else (FFmpegError, OSError))):
                    self._container.close()
                if kind is None:
                    self._aside.replace(self._path)
        finally:
            self._sound.close()
            self._aside.unlink(missing_ok=True)

    def _video_stream(self) -> Any:
        gop = {"g": str(GOP), "bf": "0", "crf": CRF, "preset": "veryfast", "sc_threshold": "0"}
        stream: Any = self._container.add_stream("libx264", rate=average_rate(self._index), options=gop)
        stream.width, stream.height = self._layout.size(len(self._parts))
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._index.time_base
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
        context.thread_count = 2
        return stream

    def write(self, number: int, parts: _Parts) -> av.VideoFrame:
        """Append source frame `number`; returns the picture of all its parts."""
        scaled = [part.scaled(frame) for part, frame in zip(self._parts, parts, strict=True)]
        picture = _joined(scaled, self._layout)
        picture.pts, picture.time_base = self._clock, self._index.time_base
        length = duration_of(self._index, number)
        picture.duration = length
        self._clock += length
        with writing(self._path):
            self._container.mux(self._video.encode(picture))
            self._sound.write(self._clock * self._index.time_base)
        return picture


def duration_of(index: FrameIndex, number: int) -> int:
    """For how long a frame is shown, in the source's time base."""
    last = number + 1 == index.frames
    return index.last_duration if last else index.pts[number + 1] - index.pts[number]


class _Part:
    """From frames of one kind to a part of the picture."""

    def __init__(self, index: FrameIndex, layout: Layout) -> None:
        self._tags = tags_of(index.colour)
        self._rgb = index.colour.matrix == "gbr"
        self._layout = layout
        self._reformatter = VideoReformatter()

    def scaled(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._rgb and frame.format.name.startswith("yuv"):
            frame = as_rgb(frame)
        rgb = frame.format.name.startswith(("rgb", "gbr"))
        return self._reformatter.reformat(
            frame,
            width=self._layout.width,
            height=self._layout.height,
            format="yuv420p",
            interpolation=Interpolation.AREA,
            src_colorspace=None if rgb else self._tags.matrix,
            dst_colorspace=_BT709,
            src_color_range=2 if rgb else self._tags.range,
            dst_color_range=1,
            threads=1,
        )


def _joined(parts: Sequence[av.VideoFrame], layout: Layout) -> av.VideoFrame:
    picture = av.VideoFrame(*layout.size(len(parts)), "yuv420p")
    for target, *pieces in zip(planes(picture), *map(planes, parts), strict=True):
        np.concatenate(pieces, axis=0 if layout.below else 1, out=target)
    picture.colorspace = picture.color_primaries = picture.color_trc = 1
    picture.color_range = 1
    return picture


class _Sound:
    """The result's first sound track as AAC, written beside the picture as it advances. None for a preview."""

    def __init__(self, container: Any, request: ReviewRequest) -> None:
        self._frames: Iterator[av.AudioFrame] = iter(())
        self._input: Any = None
        self._held: av.AudioFrame | None = None
        self._container = container
        if request.result and request.index.audio:
            skipped = request.index.pts[request.spans[0].start] - request.index.pts[request.result_start]
            self._open(Path(request.result), skipped * request.index.time_base)

    def _open(self, path: Path, skipped: Fraction) -> None:
        self._input = av.open(f"file:{path}", metadata_errors="replace")
        if not self._input.streams.audio:
            return
        self._stream = self._container.add_stream("aac", rate=SOUND, layout="stereo")
        self._frames = self._resampled(skipped)
        self._held = next(self._frames, None)

    def _resampled(self, skipped: Fraction) -> Iterator[av.AudioFrame]:
        """The samples that belong to the pictures of the copy."""
        video: Any = self._input.streams.video[0]
        begins: Fraction = (video.start_time or 0) * video.time_base + skipped
        resampler = AudioResampler(format="fltp", layout="stereo", rate=SOUND)
        with contextlib.suppress(FFmpegError):  # A track that browsers' decoders do not take is left out from there.
            for frame in self._input.decode(audio=0):
                for piece in resampler.resample(frame):
                    at = _sample(piece, begins)
                    piece.pts, piece.time_base = at, Fraction(1, SOUND)
                    if at >= 0:
                        yield piece

    def write(self, until: Fraction | None) -> None:
        """Write the sound up to a time in seconds; with None all that is left."""
        if self._held is None:
            return
        while self._held is not None and (until is None or Fraction(self._held.pts or 0, SOUND) <= until):
            self._container.mux(self._stream.encode(self._held))
            self._held = next(self._frames, None)
        if self._held is None:
            self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        if self._input is not None:
            self._input.close()


def _sample(piece: Any, begins: Fraction) -> int:
    """Number of a piece's first sample, counted from the first picture."""
    number: int = round((piece.pts * piece.time_base - begins) * SOUND)
    return number


# -- the contact sheet ------------------------------------------------------------------------------------------------


def contact_names(number: int) -> tuple[str, str]:
    """File names of frame `number` on the contact sheet: of the source, of the result."""
    return f"frame-{number}-source.jpg", f"frame-{number}-result.jpg"


def _write_contact(request: ReviewRequest, layout: Layout, number: int, picture: av.VideoFrame) -> None:
    whole = picture.to_ndarray(format="bgr24")
    scale = min(1.0, request.contact_width / layout.width)
    size = (max(1, round(layout.width * scale)), max(1, round(layout.height * scale)))
    for name, part in zip(contact_names(number), (0, 1), strict=True):
        left, top = (0, part * layout.height) if layout.below else (part * layout.width, 0)
        shown = whole[top : top + layout.height, left : left + layout.width]
        small = cv2.resize(np.ascontiguousarray(shown), size, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        (Path(request.output).parent / name).write_bytes(data.tobytes())
