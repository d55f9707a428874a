"""Sources of every awkward kind, drawn plane by plane, so that their timestamps and code values are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

import av
import numpy as np

from edits.media.formats import FORMATS, new_frame, planes
from edits.media.records import FrameIndex, SplitChunk, SplitRequest, StitchChunk, StitchRequest

GAPS = (1, 3, 2, 7, 1, 5, 4, 1, 2, 6)
"""Frames of 1/25 s between neighbours of a truly variable source."""

SAMPLES = 48_000


def variable(frames: int, tick: int) -> list[int]:
    """Timestamps of `frames` frames whose gaps run through `GAPS`, in units of which `tick` make 1/25 s."""
    times = [0]
    for number in range(frames - 1):
        times.append(times[-1] + GAPS[number % len(GAPS)] * tick)
    return times


def constant(frames: int, tick: int, start: int = 0) -> list[int]:
    """Timestamps with one gap."""
    return [start + number * tick for number in range(frames)]


def write_footage(
    path: Path,
    pts: Sequence[int],
    time_base: Fraction,
    *,
    size: tuple[int, int] = (160, 96),
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    cuts: Sequence[int] = (),
    audio: str | None = None,
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
    aspect: Fraction | None = None,
    timecode: str | None = None,
) -> Path:
    """Write one frame at each of `pts`. `audio` is a codec, as long as the picture; `tags` as in `Tags`, in order."""
    rate = Fraction(len(pts)) / ((pts[-1] - pts[0] + max(1, pts[-1] - pts[-2])) * time_base)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=rate.limit_denominator(100_000), options=options or _QUICK[codec])
        video.width, video.height, video.pix_fmt = *size, pixel_format
        video.time_base = video.codec_context.time_base = time_base
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        if aspect:
            context.sample_aspect_ratio = aspect
        if timecode:
            video.metadata["timecode"] = timecode
        sound: Any = container.add_stream(audio, rate=SAMPLES, layout="stereo") if audio else None
        if sound is not None:
            sound.metadata["language"] = "fin"
        for number, time in enumerate(pts):
            frame = drawn(number, size, pixel_format, cuts)
            frame.pts, frame.time_base = time, time_base
            following = pts[number + 1] if number + 1 < len(pts) else time + (pts[-1] - pts[-2])
            frame.duration = following - time
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            _encode_sound(container, sound, (pts[-1] - pts[0]) * time_base)
    return path


def write_turned(path: Path, degrees: int, pixel_format: str = "yuv420p", frames: int = 3) -> Path:
    """Frames of 64 x 48 that ask players to turn them counterclockwise by so many degrees."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        stream.set_display_rotation(degrees)
        for number in range(frames):
            frame = drawn(number, (64, 48), pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


_QUICK = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "ffv1": {"level": "3"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "prores_ks": {},
}


def _encode_sound(container: Any, stream: Any, seconds: Fraction) -> None:
    count = int(seconds * SAMPLES)
    wave = (np.sin(np.arange(count) * 0.05) * 9000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLES, 0, Fraction(1, SAMPLES)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def drawn(number: int, size: tuple[int, int], pixel_format: str, cuts: Sequence[int] = ()) -> av.VideoFrame:
    """Frame `number`: a texture for each shot, a square that moves, and grain of its own. All within RGB's gamut."""
    form = FORMATS[pixel_format]
    frame, targets = new_frame(form, *size)
    shot = sum(number >= cut for cut in cuts)
    texture, grain = np.random.default_rng(shot), np.random.default_rng(1000 + number)
    for place, target in enumerate(targets):
        height, width = target.shape
        coarse = texture.integers(*((60, 160), (112, 144))[place > 0], (-(-height // 8), -(-width // 8)))
        whole = np.kron(coarse, np.ones((8, 8), int))[:height, :width] + grain.integers(0, 3, (height, width))
        left = 3 * number % max(1, width - 12)
        whole[height // 3 : height // 3 + 10, left : left + 10] = (180, 136, 120)[place]
        target[:] = whole << (form.depth - 8)
    return frame


# -- reading back -----------------------------------------------------------------------------------------------------


def decoding(path: Path | str) -> Iterator[av.VideoFrame]:
    """Frame by frame, by a plain PyAV decode that shares no code with the engine."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        yield from container.decode(video=0)


def decoded(path: Path | str) -> list[av.VideoFrame]:
    """All frames at once: for short files."""
    return list(decoding(path))


def times(path: Path | str) -> list[Fraction]:
    """Timestamps after the first, as fractions of a second."""
    found = [frame.pts * Fraction(frame.time_base) for frame in decoding(path)]
    return [time - found[0] for time in found]


def same_frames(
    source: Path | str, result: Path | str, start: int = 0, end: int | None = None, quarters: int = 0
) -> bool:
    """Whether frames `[start, end)` of `source` are all of `result`: every plane bit for bit (after so many quarter
    turns counterclockwise), every time after the first as a fraction."""
    pairs = zip_longest(islice(decoding(source), start, end), decoding(result))
    offsets = set()
    for one, other in pairs:
        if one is None or other is None or not _same_planes(one, other, quarters):
            return False
        offsets.add(one.pts * Fraction(one.time_base) - other.pts * Fraction(other.time_base))
    return len(offsets) == 1


def _same_planes(one: av.VideoFrame, other: av.VideoFrame, quarters: int) -> bool:
    turned = [np.rot90(plane, quarters) for plane in planes(one)]
    return all(map(np.array_equal, turned, planes(other)))


def sound_bytes(path: Path | str) -> list[bytes]:
    """The payload of each audio stream."""
    with av.open(str(path)) as container:
        found = {stream.index: bytearray() for stream in container.streams.audio}
        for packet in container.demux():
            if packet.stream_index in found:
                found[packet.stream_index] += bytes(packet)
        return [bytes(data) for data in found.values()]


# -- jobs -------------------------------------------------------------------------------------------------------------


def chunks_of(index: FrameIndex, start: int, end: int, length: int = 17, stride: int = 12) -> list[tuple[int, ...]]:
    """(start, end, padding, lead, shot) of chunks that tile `[start, end)` shot by shot."""
    edges = [start, *(cut for cut in index.cuts if start < cut < end), end]
    found = []
    for shot, (first, last) in enumerate(pairwise(edges)):
        begin = first
        while begin + length < last:
            found.append((begin, begin + length, 0, 4 if begin > first else 0, shot))
            begin += stride
        found.append((begin, last, (begin - last + 1) % 4, 4 if begin > first else 0, shot))
    return found


def requests(
    source: Path,
    index: FrameIndex,
    folder: Path,
    output: str,
    *,
    deliverable: str = "ffv1",
    detail: str = "full",
    start: int = 0,
    end: int | None = None,
    size: tuple[int, int] = (80, 48),
) -> tuple[SplitRequest, StitchRequest]:
    """What split and stitch are asked for; outputs are named beside inputs and written by nobody yet."""
    stop = index.frames if end is None else end
    parts, edited = [], []
    for number, (first, last, padding, lead, shot) in enumerate(chunks_of(index, start, stop)):
        given, made = str(folder / f"{number}.input.mov"), str(folder / f"{number}.output.mov")
        parts.append(SplitChunk(first, last, padding, given))
        edited.append(StitchChunk(first, last, padding, lead, shot, given, made))
    split = SplitRequest(str(source), index, tuple(parts), *size, "squeeze")
    stitch = StitchRequest(
        str(source), index, start, stop, tuple(edited), detail, deliverable, str(folder / output), encoder_threads=2
    )
    return split, stitch
