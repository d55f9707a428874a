"""One edited clip measured against the exact answer, and the means over many.

frames (T, H, W, 3) uint8 of the world's size
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from metrics.flow import Flow
from metrics.frames import luma_of
from metrics.psnr import psnr
from metrics.ssim import ssim_map
from metrics.warp import followed, warp_error
from sama_model.evaluation.alternatives import alternatives
from sama_model.evaluation.success import succeeded
from sama_model.evaluation.tracking import Appearance, tracks_of, trajectory
from sama_model.training.world.drawing import draw
from sama_model.training.world.rules import WORLD, WorldRules
from sama_model.training.world.samples import Plan, WorldSample, drawn

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scores:
    """Of one clip. Part of the `--json` output: fields are added, never renamed."""

    success: bool
    """Whether the edit was done, by `success.succeeded`."""
    psnr_inside: float | None
    """Decibels to the exact target where the edit may change the picture; 100: no difference; None: no such pixels."""
    psnr_outside: float | None
    """The same everywhere else."""
    ssim_inside: float | None
    ssim_outside: float | None
    trajectory_px: float | None
    """Pixels between the things and where they should be, over the frames in which they are found; None: in none."""
    found: float | None
    """Share of those frames; None: there are no things."""
    flicker: float
    """Change from frame to frame along the target's motion, in levels, less the exact target's own."""


@dataclass(frozen=True)
class Means:
    """Over several clips; each mean over those that have the figure. Part of the `--json` output, as `Scores`."""

    success: float
    """Share of the clips."""
    psnr_inside: float | None
    psnr_outside: float | None
    ssim_inside: float | None
    ssim_outside: float | None
    trajectory_px: float | None
    found: float | None
    flicker: float


@dataclass(frozen=True)
class Truth:
    """All that a result of one sample is measured against."""

    sample: WorldSample
    alternatives: tuple[Frames, ...]
    tracks: tuple[tuple[Appearance, ...], ...]
    motion: tuple[tuple[Flow, npt.NDArray[np.bool_]], ...]
    """From each frame of the target to the next."""

    def scores(self, result: Frames) -> Scores:
        """The result measured."""
        target, inside = self.sample.target, self.sample.mask > 0
        index = np.stack([ssim_map(luma_of(a), luma_of(b)) for a, b in zip(result, target, strict=True)])
        way = trajectory(result, self.tracks)
        return Scores(
            success=succeeded(result, target, self.alternatives),
            psnr_inside=psnr(result, target, inside),
            psnr_outside=psnr(result, target, ~inside),
            ssim_inside=float(index[inside].mean()) if inside.any() else None,
            ssim_outside=float(index[~inside].mean()) if not inside.all() else None,
            trajectory_px=way.error,
            found=way.found,
            flicker=self.flicker(result) - self.flicker(target),
        )

    def flicker(self, frames: Frames) -> float:
        """Mean warp error along the target's motion, in levels."""
        steps = zip(pairwise(frames), self.motion, strict=True)
        return sum(warp_error(*pair, *motion) for pair, motion in steps) / len(self.motion)


def truth_of(plan: Plan, rules: WorldRules = WORLD) -> Truth:
    """Draws a sample and what it is compared with."""
    sample = drawn(plan, rules)
    return Truth(
        sample=sample,
        alternatives=tuple(draw(scene, rules).frames for scene in alternatives(plan, rules)),
        tracks=tracks_of(plan, rules),
        motion=tuple(followed(before, after) for before, after in pairwise([luma_of(f) for f in sample.target])),
    )


def means_of(scores: Sequence[Scores]) -> Means:
    """Of at least one clip."""
    return Means(
        success=sum(each.success for each in scores) / len(scores),
        psnr_inside=mean([each.psnr_inside for each in scores]),
        psnr_outside=mean([each.psnr_outside for each in scores]),
        ssim_inside=mean([each.ssim_inside for each in scores]),
        ssim_outside=mean([each.ssim_outside for each in scores]),
        trajectory_px=mean([each.trajectory_px for each in scores]),
        found=mean([each.found for each in scores]),
        flicker=sum(each.flicker for each in scores) / len(scores),
    )


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are there; None if none is."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
