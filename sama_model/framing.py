"""A picture of any shape in a working size, and back: squeezed, padded by reflection, or cropped as the official code.

frames (T, H, W, 3) uint8 -> (T, height, width, 3) of the working size, and where in it the picture lies
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sama_model.config import fits_squeezed, inside

Frames = npt.NDArray[np.uint8]

FITS = ("whole", "squeeze", "pad", "crop")
"""`whole`: squeezed if the shapes differ by little, else padded; the only ones that show all of the picture are the
first three. `crop` is the official recipe."""


@dataclass(frozen=True)
class Framing:
    """Where the picture lies in the working size, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def trimmed(self, frames: Frames) -> Frames:
        """The picture alone."""
        return frames[:, self.top : self.top + self.height, self.left : self.left + self.width]


def check_fit(fit: str) -> None:
    """Refuse an unknown fit. Raises ValueError."""
    if fit not in FITS:
        raise ValueError(f"there is no fit '{fit}'; there are {', '.join(FITS)}")


def framed(frames: Frames, size: tuple[int, int], fit: str) -> tuple[Frames, Framing]:
    """`frames` in the working size (width, height), and where in it their picture is.

    Raises:
        ValueError: an unknown fit.
    """
    check_fit(fit)
    height, width = frames.shape[1:3]
    if fit == "whole":
        fit = "squeeze" if fits_squeezed((width, height), size) else "pad"
    if fit == "pad":
        return _padded(frames, size)
    if fit == "crop":
        frames = cropped(frames, size)
    return resized(frames, size), Framing(0, 0, *size)


def _padded(frames: Frames, size: tuple[int, int]) -> tuple[Frames, Framing]:
    """The picture as large as it fits, in the middle, its surroundings reflected."""
    height, width = frames.shape[1:3]
    picture = (width, height) if width <= size[0] and height <= size[1] else inside((width, height), size)
    left, top = (size[0] - picture[0]) // 2, (size[1] - picture[1]) // 2
    right, bottom = size[0] - picture[0] - left, size[1] - picture[1] - top
    small = resized(frames, picture)
    padded = np.pad(small, ((0, 0), (top, bottom), (left, right), (0, 0)), mode="reflect")
    return padded, Framing(left, top, *picture)


def cropped(frames: Frames, size: tuple[int, int]) -> Frames:
    """The middle of the picture in the working size's shape (models.md 1.1 step B: sides are cut off as integers)."""
    height, width = frames.shape[1:3]
    if width / height > size[0] / size[1]:
        kept = int(height / size[1] * size[0])
        left = (width - kept) // 2
        return frames[:, :, left : left + kept]
    kept = int(width / size[0] * size[1])
    top = (height - kept) // 2
    return frames[:, top : top + kept]


def resized(frames: Frames, size: tuple[int, int]) -> Frames:
    """Each frame at (width, height) by Pillow's bicubic filter; untouched if it has that size."""
    if frames.shape[1:3] == (size[1], size[0]):
        return frames
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames])
