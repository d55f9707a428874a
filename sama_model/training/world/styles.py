"""Whole-frame styles: each a function of one frame alone, so that a restyled clip's target is exact.

frame (H, W, 3) uint8 -> (H, W, 3) uint8
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], dtype=np.float32)
MOONLIGHT = np.array([[0.22, 0.3, 0.52], [4, 6, 18]], dtype=np.float32)
"""What is left of each channel at night, and what is added."""
PAPER, INK = np.array([24, 58, 128], dtype=np.float32), np.array([226, 236, 250], dtype=np.float32)
BLOCK = 4
"""Pixels of a `pixels` block along a side."""


def styled(style: str, frames: Frame) -> Frame:
    """(T, H, W, 3) in this style; an empty one leaves it as it is.

    Raises:
        KeyError: a style that is not drawn.
    """
    if not style:
        return frames
    return np.stack([STYLES[style](frame) for frame in frames])


def grey(frame: Frame) -> Frame:
    """(H, W)."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def outlines(frame: Frame) -> npt.NDArray[np.float32]:
    """(H, W) in 0..1: how strong the edges are."""
    soft = cv2.GaussianBlur(grey(frame), (3, 3), 0)
    along, down = (cv2.Sobel(soft, cv2.CV_32F, *axes, ksize=3) for axes in ((1, 0), (0, 1)))
    return np.clip(cv2.magnitude(along, down) / 220, 0, 1).astype(np.float32)


def sketch(frame: Frame) -> Frame:
    tone = 240 + (grey(frame).astype(np.float32) - 128) * 0.12
    return level(tone * (1 - 0.85 * outlines(frame)))


def sepia(frame: Frame) -> Frame:
    toned: Frame = cv2.transform(frame, SEPIA).astype(np.uint8)
    return toned


def monochrome(frame: Frame) -> Frame:
    return level(grey(frame).astype(np.float32))


def pixels(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    coarse = cv2.resize(frame, (width // BLOCK, height // BLOCK), interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def negative(frame: Frame) -> Frame:
    return 255 - frame


def poster(frame: Frame) -> Frame:
    """Four levels a channel, after the fine grain is gone."""
    flat = cv2.medianBlur(frame, 5)
    return ((flat // 64) * 85).astype(np.uint8)


def night(frame: Frame) -> Frame:
    return np.asarray(frame * MOONLIGHT[0] + MOONLIGHT[1], dtype=np.uint8)


def blueprint(frame: Frame) -> Frame:
    lines = outlines(frame)[..., None]
    return np.asarray(PAPER * (1 - lines) + INK * lines, dtype=np.uint8)


def level(tone: npt.NDArray[np.float32]) -> Frame:
    """(H, W) in 0..255 to three equal channels."""
    return np.repeat(np.clip(tone, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


STYLES = {
    "sketch": sketch,
    "sepia": sepia,
    "monochrome": monochrome,
    "pixels": pixels,
    "negative": negative,
    "poster": poster,
    "night": night,
    "blueprint": blueprint,
}
