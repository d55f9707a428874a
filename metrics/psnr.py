"""How far a clip is from another, in decibels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

EQUAL = 100.0
"""Decibels that stand for no difference at all, and the most there is."""


def psnr(frames: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], where: npt.NDArray[np.bool_]) -> float | None:
    """10 log10(255^2 / mean square difference) over the pixels `where` and all channels; None without any.

    frames, truth (T, H, W, 3) of 8 bits, where (T, H, W).
    """
    if not where.any():
        return None
    error = np.mean((frames[where].astype(np.float64) - truth[where]) ** 2)
    return EQUAL if error == 0 else min(EQUAL, float(10 * np.log10(255**2 / error)))
