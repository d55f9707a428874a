"""Where in a picture something is that is known from another, to parts of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metrics.frames import Picture

Weights = npt.NDArray[np.float32]
"""(H, W) in 0..1."""


@dataclass(frozen=True)
class Match:
    """The place that looks most like what was sought."""

    x: float
    """Pixels to the right of where it was known to be."""
    y: float
    """Pixels down."""
    missed: float
    """Root mean square difference there, in levels of 8 bits."""


def best_match(picture: Picture, known: Picture, where: Weights, reach: int) -> Match:
    """Moves what `known` shows at `where` by up to `reach` pixels each way over `picture`; a parabola through the
    least square difference and its neighbours gives the parts of a pixel. `where` must not be empty."""
    rows, columns = np.nonzero(where.any(axis=1))[0], np.nonzero(where.any(axis=0))[0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask = np.sqrt(where[box])[..., None].repeat(3, axis=2)
    around = cv2.copyMakeBorder(picture.astype(np.float32), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    around = around[box[0].start : box[0].stop + 2 * reach, box[1].start : box[1].stop + 2 * reach]
    found = cv2.matchTemplate(around, known[box].astype(np.float32), cv2.TM_SQDIFF, mask=mask)
    squares = np.asarray(found, np.float32)
    y, x = np.unravel_index(int(np.argmin(squares)), squares.shape)
    missed = float(np.sqrt(max(0.0, float(squares[y, x])) / (3 * float(where[box].sum()))))
    return Match(x + below(squares[y, :], int(x)) - reach, y + below(squares[:, x], int(y)) - reach, missed)


def below(values: npt.NDArray[np.float32], at: int) -> float:
    """How far from `at`, in -0.5..0.5, a parabola through it and its neighbours is lowest; 0 at an end."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in values[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.0 if bend <= 0 else (before - after) / (2 * bend)
