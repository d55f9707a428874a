"""How a source's picture lies in the working size: squeezed over all of it, or as it is with borders beside it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from edits.catalogue import FITS
from edits.media.chunkfile import Rgb
from edits.media.records import FrameIndex

_GRID = 2
"""Borders are whole pairs of pixels."""


@dataclass(frozen=True)
class Window:
    """The part of a chunk's pictures that shows the source, in pixels."""

    left: int
    top: int
    width: int
    height: int
    full_width: int
    full_height: int

    @property
    def whole(self) -> bool:
        """Whether there are no borders."""
        return (self.width, self.height) == (self.full_width, self.full_height)

    def filled(self, picture: Rgb) -> Rgb:
        """`picture`, of the window's size, in the middle of a whole one: its edge is repeated outwards."""
        if self.whole:
            return picture
        right = self.full_width - self.left - self.width
        bottom = self.full_height - self.top - self.height
        return np.asarray(
            cv2.copyMakeBorder(picture, self.top, bottom, self.left, right, borderType=cv2.BORDER_REPLICATE)
        )

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height; None where there are no borders."""
        return None if self.whole else (self.left, self.top, self.width, self.height)


def window_of(index: FrameIndex, width: int, height: int, fit: str) -> Window:
    """Where the source's picture lies in chunks of `width` x `height`.

    Raises:
        ValueError: a fit that is not known.
    """
    if fit not in FITS:
        raise ValueError(f"fit '{fit}' is not known; {', '.join(FITS)} are")
    if fit == "squeeze":
        return Window(0, 0, width, height, width, height)
    shape = index.width * index.sample_aspect_ratio / index.height
    inner_width = min(width, _even(height * shape))
    inner_height = min(height, _even(width / shape))
    return Window((width - inner_width) // 2, (height - inner_height) // 2, inner_width, inner_height, width, height)


def _even(pixels: Fraction) -> int:
    return max(_GRID, _GRID * round(pixels / _GRID))
