"""Draws the clip that the small weights `pico` are shown: three shots of their drawn world, which no training has seen.

    python examples/draw_world.py OUTPUT.mp4

Each shot is the source of a held-out sample, longer than a training clip; demo.csv asks for what such samples ask for,
in the words of their edits. 87 frames of 448x256 at 12 frames a second: the world's 56x32, eight times enlarged.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from sama_model.training.world.rules import SMALL_WORLD
from sama_model.training.world.samples import Plan, drawn, planned
from sama_model.training.world.splits import Split

RULES = replace(SMALL_WORLD, frames=29)
RATE = Fraction(12)
ENLARGED = 8
SEED = 2026
SHOTS = (0, 1, 6)
"""Numbers of samples whose things stay in the picture for so long."""


def plan(shot: int, kind: str = "remove") -> Plan:
    """The sample whose source shot number `shot` is; its kind of edit changes nothing of the source."""
    return planned(SEED, SHOTS[shot], Split.SEEN, kind, RULES)


def pictures() -> Iterator[npt.NDArray[np.uint8]]:
    """Every frame in order, (256, 448, 3) RGB."""
    size = (ENLARGED * RULES.width, ENLARGED * RULES.height)
    for shot in range(len(SHOTS)):
        for frame in drawn(plan(shot), RULES).source:
            yield cv2.resize(frame, size, interpolation=cv2.INTER_LANCZOS4).astype(np.uint8)


def draw_world(path: Path) -> None:
    """Draws and encodes the clip: H.264 with BT.709 tags, no sound."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = ENLARGED * RULES.width, ENLARGED * RULES.height, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for picture in pictures():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the example clip of the small weights' world.")
    parser.add_argument("output", type=Path, help="file to write, e.g. world.mp4")
    path = parser.parse_args().output
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_world(path)
    print(f"{path}: {RULES.frames * len(SHOTS)} frames, {len(SHOTS)} shots")


if __name__ == "__main__":
    main()
