"""Whether a seam shows: the changes from frame to frame inside a blend, against the same away from any blend.

A measure is a ratio to controls, so that what the material does anyway (motion, flicker, grain) counts as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from metrics.difference import mean_difference
from metrics.frames import Luma, Picture, luma_of
from metrics.luma import mean_step
from metrics.sharpness import laplacian_variance
from metrics.warp import followed, warp_error

SMALLEST_CHANGE = 0.05
"""Levels: a still source is taken to change at least so much, and so is luma between two of its frames."""


@dataclass(frozen=True)
class Moment:
    """One frame of the source and of the result, small enough to be measured."""

    source: Picture
    result: Picture


@dataclass(frozen=True)
class Step:
    """What happens from one frame to the next."""

    difference: float
    """Change of the result over change of the source."""
    warp: float
    """Change of the result with the source's motion taken out, in levels."""
    luma: float
    """Change of the result's mean luma beyond the source's, absolute, in levels."""
    sharpness: float
    """Variance of the Laplacian of the later frame, over that of the source's."""


@dataclass(frozen=True)
class SeamMeasure:
    """One seam, or the worst of several; 1 is as good as no seam."""

    difference: float
    """Largest change in the seam over the usual one."""
    warp: float
    luma: float
    sharpness: float
    """Least sharpness in the seam over the usual one."""

    @property
    def shows(self) -> tuple[str, ...]:
        """The measures that are beyond their bound, by name."""
        over = [name for name, bound in AT_MOST.items() if getattr(self, name) > bound]
        return (*over, *(name for name, bound in AT_LEAST.items() if getattr(self, name) < bound))


AT_MOST = {"difference": 1.15, "warp": 1.3, "luma": 2.5}
AT_LEAST = {"sharpness": 0.85}
"""Bounds within which a seam was not seen, by comparing real edits that were cut together in several ways."""


def step(before: Moment, after: Moment) -> Step:
    """Measure the way from one frame to the next."""
    old, new = luma_of(before.source), luma_of(after.source)
    made = luma_of(after.result)
    flow, where = followed(old, new)
    own = max(SMALLEST_CHANGE, mean_difference(before.source, after.source))
    return Step(
        difference=mean_difference(before.result, after.result) / own,
        warp=warp_error(before.result, after.result, flow, where),
        luma=abs(mean_step(luma_of(before.result), made) - mean_step(old, new)),
        sharpness=_relative_sharpness(made, new),
    )


def _relative_sharpness(result: Luma, source: Luma) -> float:
    return laplacian_variance(result) / max(SMALLEST_CHANGE, laplacian_variance(source))


def seam_measure(seam: Sequence[Step], controls: Sequence[Step]) -> SeamMeasure:
    """The worst step of a seam against the median of the controls.

    Raises:
        ValueError: no steps, or no controls.
    """
    if not seam or not controls:
        raise ValueError("a seam is measured by its steps and by controls: at least one of each")
    return SeamMeasure(
        difference=max(s.difference for s in seam) / _usual([c.difference for c in controls], 1e-6),
        warp=max(s.warp for s in seam) / _usual([c.warp for c in controls], SMALLEST_CHANGE),
        luma=max(s.luma for s in seam) / _usual([c.luma for c in controls], SMALLEST_CHANGE),
        sharpness=min(s.sharpness for s in seam) / _usual([c.sharpness for c in controls], 1e-6),
    )


def _usual(values: Sequence[float], least: float) -> float:
    return max(least, median(values))
