"""Whether an edit was done: the result is twice as near to the exact target as to what any other edit would have made.

frames (T, H, W, 3) uint8. All are softened first, since what was asked for is a shape and a colour, not the finest
grain, of which a VAE loses some; only pictures that differ in their grain alone (pixel art) are compared as they are.
What is compared is only where target and alternative differ visibly, so that a small thing counts as much as a large
one, and a fault elsewhere counts nothing (PSNR and SSIM tell of that).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]

NEAR = 0.5
"""Largest distance to the target, over that to an alternative."""
SOFT = 1.5
"""Pixels of the Gaussian by which clips are softened."""
VISIBLE = 16
"""Levels by which a channel differs where two clips differ visibly."""
ENOUGH = 0.0005
"""Share of the pixels, 4 of a frame of the world, in which softened clips must differ to be told apart."""
GRAIN = 0.02
"""The same of clips as they are: more than the edge of a small thing, which is no edit's whole difference."""


def succeeded(result: Frames, target: Frames, alternatives: Iterable[Frames]) -> bool:
    """Whether the result is the target rather than any of the alternatives that can be told from it."""
    seen, wanted = softened(result), softened(target)
    for other in alternatives:
        distance = relative_distance(seen, wanted, softened(other), ENOUGH)
        if distance is None:
            distance = relative_distance(result, target, other, GRAIN)
        if distance is not None and distance > NEAR:
            return False
    return True


def relative_distance(result: Frames, target: Frames, other: Frames, enough: float) -> float | None:
    """||result - target|| / ||result - other|| where those two differ visibly; None if not in this share of pixels."""
    apart = (cv2.absdiff(target, other) >= VISIBLE).any(axis=-1)
    if apart.mean() < enough:
        return None
    seen = result[apart].astype(np.float32)
    missed = float(np.square(seen - target[apart]).sum())
    beside = float(np.square(seen - other[apart]).sum())
    return float("inf") if beside == 0 else (missed / beside) ** 0.5


def softened(frames: Frames) -> Frames:
    """Without its finest grain."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), SOFT) for frame in frames])
