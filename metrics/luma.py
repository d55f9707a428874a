"""Steps in brightness."""

from __future__ import annotations

from metrics.frames import Luma


def mean_step(before: Luma, after: Luma) -> float:
    """Change of the mean luma from one frame to the next, in levels of 8 bits; signed."""
    return float(after.mean(dtype="float64") - before.mean(dtype="float64"))
