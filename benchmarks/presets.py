"""What the presets save and what they cost, beside simply taking as many fewer steps.

    python benchmarks/presets.py            on the weights `tiny`, on the CPU
    python benchmarks/presets.py FOLDER     on converted weights, on the accelerator if there is one

For each preset: how often the network was asked (a branch of a forward counts once), processor seconds, and how far the
frames are from those of `quality` with the same noise (PSNR in dB). Below it stands the released recipe with the number
of steps that asks the network as often. Distance from `quality` is divergence, not quality: that takes eyes or a judge.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sama_model.cards import PRESETS, card
from sama_model.config import Recipe
from sama_model.editors.sama import load_tiny
from sama_model.pipeline import SamaPipeline

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Taken:
    """One edit."""

    frames: Frames
    asked: int
    """Branches that the network computed."""
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", type=Path, help="a folder of converted weights")
    parser.add_argument("--frames", type=int, default=17, help="4k+1")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 96), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--instruction", default="turn it into a watercolour painting")
    given = parser.parse_args()
    pipeline = load_tiny(card("sama", "tiny").digest) if given.weights is None else loaded(given.weights)
    pipeline.set_progress_bar_config(disable=True)
    source = moving_squares(given.frames, *given.size)
    best = PRESETS["quality"]
    whole = taken(pipeline, source, given.instruction, best)
    print(f"{'':34}{'asked':>7}{'seconds':>9}{'speed':>8}{'PSNR':>8}")
    show("quality", whole, whole)
    for name in ("balanced", "fast"):
        mine = taken(pipeline, source, given.instruction, PRESETS[name])
        show(name, mine, whole)
        fewer = replace(best, steps=max(1, round(mine.asked / 2)))
        show(f"  instead: {fewer.steps} steps", taken(pipeline, source, given.instruction, fewer), whole)
    return 0


def loaded(folder: Path) -> SamaPipeline:
    return SamaPipeline.from_pretrained(folder).to("cuda" if torch.cuda.is_available() else "cpu")


def moving_squares(count: int, width: int, height: int) -> Frames:
    """Two squares that cross a gradient."""
    down, across = np.mgrid[0:height, 0:width]
    clip = np.stack([np.stack([255 * across // width, 255 * down // height, (across + down) % 256], axis=-1)] * count)
    side = height // 4
    for i, frame in enumerate(clip):
        left = i * (width - side) // max(1, count - 1)
        frame[side : 2 * side, left : left + side] = (230, 40, 40)
        frame[2 * side : 3 * side, width - side - left : width - left] = (40, 200, 80)
    return clip.astype(np.uint8)


def taken(pipeline: SamaPipeline, source: Frames, instruction: str, recipe: Recipe) -> Taken:
    """One edit with seed 0."""
    asked: list[int] = []
    hook = pipeline.transformer.proj_out.register_forward_pre_hook(lambda _, x: asked.append(x[0].shape[0]))
    began = time.process_time()
    edit = pipeline(
        source,
        instruction,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance,
        shift=recipe.shift,
        guided=recipe.guided,
        step_cache=recipe.step_cache,
        generator=torch.Generator().manual_seed(0),
    )
    seconds = time.process_time() - began
    hook.remove()
    return Taken(edit.frames, sum(asked), seconds)


def show(name: str, mine: Taken, whole: Taken) -> None:
    error = np.square(mine.frames.astype(float) - whole.frames).mean()
    psnr = f"{10 * np.log10(255**2 / error):8.1f}" if error else f"{'same':>8}"
    print(f"{name:34}{mine.asked:7}{mine.seconds:9.1f}{whole.seconds / mine.seconds:8.2f}{psnr}")


if __name__ == "__main__":
    raise SystemExit(main())
