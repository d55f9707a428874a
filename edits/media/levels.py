"""A gain and an offset a chunk and channel, so that chunks of a shot agree in brightness and colour. Pure arithmetic.

Each overlap says by how much two chunks differ in mean and in spread; all of a shot's overlaps are solved at once.
Means and spreads are compared rather than pixels fitted: a fit takes what two edits draw differently for a loss of
contrast.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_GAIN = 1.05
"""A chunk's contrast is changed by at most this factor, either way."""
MAX_OFFSET = 6.0
"""Levels of 8 bits."""
PULL = 0.02
"""Weight of 'leave it as it is' against one overlap: what adds up over many chunks dies away instead of drifting."""
SWEEPS = 400
"""Gauss-Seidel sweeps at most; with this pull a change of one chunk reaches about seven others."""
SETTLED = 1e-5

Channels = npt.NDArray[np.float64]
"""(3,), one value for each of R, G and B."""


@dataclass(frozen=True)
class Levels:
    """`picture * gain + offset`, in levels of 8 bits."""

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]


SAME = Levels((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Moments:
    """What is known of one chunk's pictures in an overlap."""

    mean: Channels
    square: Channels
    """Mean of the squares."""

    @property
    def spread(self) -> Channels:
        """Standard deviation."""
        return np.sqrt(np.maximum(self.square - self.mean**2, 0.0))


@dataclass(frozen=True)
class Overlap:
    """Two chunks, by their place in the shot, over the frames that both hold."""

    earlier: int
    later: int
    before: Moments
    after: Moments


def solve(chunks: int, overlaps: Sequence[Overlap], fixed: Collection[int] = (0,)) -> tuple[Levels, ...]:
    """The levels of each of a shot's `chunks`: least squares over all overlaps, within bounds; `fixed` ones stay as is.

    First the gains (their logarithms differ across an overlap as those of the spreads do), then the offsets with those.
    """
    edges = [(overlap.earlier, overlap.later) for overlap in overlaps]
    ratios = [_log_ratio(overlap.before.spread, overlap.after.spread) for overlap in overlaps]
    gains = np.exp(_settle(chunks, edges, ratios, math.log(MAX_GAIN), fixed))
    steps = [gains[o.earlier] * o.before.mean - gains[o.later] * o.after.mean for o in overlaps]
    offsets = _settle(chunks, edges, steps, MAX_OFFSET, fixed)
    return tuple(
        Levels(_three(gain), _three(offset)) if place not in fixed else SAME
        for place, (gain, offset) in enumerate(zip(gains, offsets, strict=True))
    )


def _log_ratio(before: Channels, after: Channels) -> Channels:
    """Zero where a channel is even: it has no contrast to be matched."""
    even = np.minimum(before, after) < 1.0
    return np.where(even, 0.0, np.log(np.maximum(before, 1.0) / np.maximum(after, 1.0)))


def _settle(
    chunks: int, edges: Sequence[tuple[int, int]], steps: Sequence[Channels], bound: float, fixed: Collection[int]
) -> npt.NDArray[np.float64]:
    """(chunks, 3) values x that minimise sum (x_later - x_earlier - step)^2 + PULL * sum x^2 with |x| <= bound.

    Projected Gauss-Seidel: the problem is convex, and each value's best one is its neighbours' mean, cut to the bound.
    """
    values = np.zeros((chunks, 3))
    wanted: list[list[tuple[int, Channels]]] = [[] for _ in range(chunks)]
    for (earlier, later), step in zip(edges, steps, strict=True):
        wanted[later].append((earlier, step))
        wanted[earlier].append((later, -step))
    free = [place for place in range(chunks) if place not in fixed and wanted[place]]
    for _ in range(SWEEPS):
        moved = 0.0
        for place in free:
            pulled = sum((values[other] + step for other, step in wanted[place]), np.zeros(3))
            best = np.clip(pulled / (len(wanted[place]) + PULL), -bound, bound)
            moved = max(moved, float(np.abs(best - values[place]).max()))
            values[place] = best
        if moved < SETTLED * bound:
            break
    return values


def _three(values: Channels) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def levelled(picture: npt.NDArray[np.float32], levels: Levels) -> npt.NDArray[np.float32]:
    """The picture (H, W, 3) in levels of 8 bits, after `levels`; not clipped."""
    gain, offset = np.array(levels.gain, np.float32), np.array(levels.offset, np.float32)
    changed: npt.NDArray[np.float32] = picture * gain + offset
    return changed
