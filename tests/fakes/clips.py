"""Small videos whose every fact is known because this file drew them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SAMPLE_RATE = 48_000


def write_clip(
    path: Path,
    *,
    frames: int = 48,
    size: tuple[int, int] = (160, 96),
    rate: Fraction = Fraction(24),
    cuts: Sequence[int] = (),
    audio: bool = True,
) -> Path:
    """H.264 with BT.709 tags: a bright square moving over a texture that changes at every cut; a 440 Hz tone as AAC."""
    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"crf": "18", "preset": "veryfast"}
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if audio else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size, cuts), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            container.mux(sound.encode(tone(frames / rate)))
            container.mux(sound.encode())
    return path


def picture(number: int, size: tuple[int, int], cuts: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8: frame `number` of the clip."""
    width, height = size
    shot = sum(number >= cut for cut in cuts)
    texture = np.random.default_rng(shot).integers(30, 120, (height // 8, width // 8, 3))
    whole = np.kron(texture, np.ones((8, 8, 1))).astype(np.uint8) + np.uint8(60 * (shot % 3))
    x = (3 * number) % (width - 24)
    whole[height // 3 : height // 3 + 24, x : x + 24] = (230, 200, 40)
    return whole


def tone(seconds: Fraction) -> av.AudioFrame:
    """A mono tone of that length, as one frame."""
    samples = np.sin(2 * np.pi * 440 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None] * 0.3, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
    return frame
