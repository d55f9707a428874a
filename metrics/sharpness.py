"""How sharp a picture is: ghosts of a cross-fade are soft."""

from __future__ import annotations

import cv2

from metrics.frames import Luma


def laplacian_variance(luma: Luma) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000, 'Diatom autofocusing in brightfield microscopy')."""
    return float(cv2.Laplacian(luma, cv2.CV_32F).var())
