"""What the measures take: pictures as arrays, and their luma. Numbers in, numbers out; no files, no records of jobs."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[Any]
"""(H, W, 3) RGB, uint8 or float32, in levels of 8 bits."""
Luma = npt.NDArray[np.float32]
"""(H, W) in levels of 8 bits."""

_WEIGHTS = np.array([[0.2126, 0.7152, 0.0722]], np.float32)
"""BT.709 luma of gamma-coded R, G, B (ITU-R BT.709-6, item 3.2)."""


def luma_of(picture: Picture) -> Luma:
    """The picture's luma."""
    return np.asarray(cv2.transform(picture.astype(np.float32), _WEIGHTS), np.float32).reshape(picture.shape[:2])
