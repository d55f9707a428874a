"""Flicker: what is left of the change from frame to frame when the source's motion is taken out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metrics.flow import Flow, flow_between, moved
from metrics.frames import Luma, Picture

FOLLOWED = 8.0
"""Levels by which the source may miss its own motion where the measure looks: elsewhere things appear or vanish."""


def warp_error(before: Picture, after: Picture, flow: Flow, where: npt.NDArray[np.bool_]) -> float:
    """Mean absolute difference between `after` and `before` moved along `flow`, over the pixels `where`.

    In levels of 8 bits; 0 where nothing can be followed. After Lai et al. 2018, 'Learning Blind Video Temporal
    Consistency', equation 9, with the absolute value for the square.
    """
    if not where.any():
        return 0.0
    missed = np.abs(after.astype(np.float32) - moved(before.astype(np.float32), flow))
    return float(missed[where].mean())


def followed(before: Luma, after: Luma) -> tuple[Flow, npt.NDArray[np.bool_]]:
    """The motion of the source between two of its frames, and where it explains the later one."""
    flow = flow_between(before, after)
    return flow, np.abs(after - moved(before, flow)) < FOLLOWED
