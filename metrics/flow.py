"""Motion between two frames, and a frame moved along it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from metrics.frames import Luma, Picture

Flow = npt.NDArray[np.float32]
"""(H, W, 2): for each pixel of the later frame, where (dx, dy) it was in the earlier one."""


def flow_between(before: Luma, after: Luma) -> Flow:
    """Where each pixel of `after` comes from in `before`: dense inverse search (Kroeger et al. 2016), preset fast."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    start = np.zeros((*after.shape, 2), np.float32)
    return np.asarray(search.calc(_bytes(after), _bytes(before), start), np.float32)


def moved(before: Picture | Luma, flow: Flow) -> npt.NDArray[Any]:
    """`before` as it would look in the later frame."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(before, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _bytes(luma: Luma) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(luma), 0, 255).astype(np.uint8)
