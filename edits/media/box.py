"""The part of a picture that a mask touches, cut where pixels begin at every size that the picture has. Numbers only.

A part cut there and enlarged alone is what the whole one enlarged would be, but for its outermost pixels: where an edit
is local, that is a tenth of the work (docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

MARGIN = 4
"""Pixels of the mask around what it touches: as far as enlarging looks."""

Span = tuple[Fraction, Fraction]
"""From where to where, of a side that is 1 long."""


@dataclass(frozen=True)
class Box:
    """A part of a picture, whatever its size."""

    rows: Span
    columns: Span

    def of(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of the part of `plane`, (H, W)."""
        height, width = plane.shape
        (top, bottom), (left, right) = self.rows, self.columns
        return plane[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def box_of(mask: npt.NDArray[np.float32], sizes: Sequence[tuple[int, ...]]) -> Box:
    """The smallest box around all of `mask` that is not 0, and a margin, in which each of `sizes` (height, width) has
    whole pixels; all of the picture if the sizes have nothing in common. The mask is not empty."""
    heights, widths = zip(*sizes, strict=True)
    return Box(_span(mask.max(axis=1), heights), _span(mask.max(axis=0), widths))


def _span(peaks: npt.NDArray[np.float32], sides: Sequence[int]) -> Span:
    parts = gcd(len(peaks), *sides)
    pixels = len(peaks) // parts
    where = np.flatnonzero(peaks)
    first, last = int(where[0]) - MARGIN, int(where[-1]) + 1 + MARGIN
    return Fraction(max(0, first // pixels), parts), Fraction(min(parts, -(-last // pixels)), parts)
