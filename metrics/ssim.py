"""How alike two pictures are in structure (Wang et al. 2004, 'Image Quality Assessment: From Error Visibility to
Structural Similarity', equation 13)."""

from __future__ import annotations

import cv2
import numpy as np

from metrics.frames import Luma

SIGMA, WINDOW = 1.5, (11, 11)
"""Of the Gaussian weights, as in the paper."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim_map(one: Luma, other: Luma) -> Luma:
    """(H, W) of the index at each pixel, at most 1; beyond the edges the pictures are mirrored."""
    a, b = one.astype(np.float64), other.astype(np.float64)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(values, WINDOW, SIGMA, borderType=cv2.BORDER_REFLECT))

    mean_a, mean_b = local(a), local(b)
    spread_a, spread_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    together = local(a * b) - mean_a * mean_b
    index = (2 * mean_a * mean_b + C1) * (2 * together + C2)
    index /= (mean_a**2 + mean_b**2 + C1) * (spread_a + spread_b + C2)
    return np.asarray(index, np.float32)
