"""How much a picture changes from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np

from metrics.frames import Picture


def mean_difference(before: Picture, after: Picture) -> float:
    """Mean absolute difference over all samples, in levels of 8 bits."""
    return float(np.mean(cv2.absdiff(before, after)))
