"""Where one shot dissolves into another: chunks end there too, for no blend can hide two shots in one picture.

A frame of a dissolve is a mixture of what is before and after it. So are frames of a fade and of a change of light;
those are told apart by what is at either end: two pictures that have nothing to do with each other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

LENGTHS = (8, 12, 16, 24, 32, 48)
"""Frames over which ends are compared: multiples of four, so that the quarters are frames."""
THUMB = (64, 36)
CHANGED = 12.0
"""Levels, mean: the ends of a dissolve differ by at least so much."""
LIKE_A_MIXTURE = 0.2
"""Largest share of that difference by which a quarter of the way may miss the mixture that it should be."""
ALIKE = 0.5
"""Correlation from which two pictures show the same thing."""
EVEN = 4.0
"""Standard deviation below which a picture shows nothing: black, white, or a fade."""

Thumb = npt.NDArray[np.float32]
"""(h, w) luma."""


@dataclass(frozen=True)
class _Candidate:
    start: int
    end: int
    change: float


class DissolveFinder:
    """Looks at frames in order."""

    def __init__(self) -> None:
        self._held: deque[Thumb] = deque(maxlen=LENGTHS[-1] + 1)
        self._found: list[_Candidate] = []

    def add(self, number: int, picture: npt.NDArray[np.uint8]) -> None:
        """`picture` is frame `number` as (H, W, 3), small."""
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        self._held.append(cv2.resize(grey, THUMB, interpolation=cv2.INTER_AREA).astype(np.float32))
        for length in LENGTHS:
            if length < len(self._held):
                quarters = [self._held[-1 - length * part // 4] for part in (4, 3, 2, 1, 0)]
                change = _dissolve(quarters)
                if change:
                    self._found.append(_Candidate(number - length, number, change))

    def borders(self, cuts: tuple[int, ...]) -> tuple[int, ...]:
        """The middle frame of each dissolve, ascending; none where a cut was found already."""
        found = [_widest(group) for group in self._groups()]
        middles = [(one.start + one.end + 1) // 2 for one in found if not any(one.start < c <= one.end for c in cuts)]
        return tuple(sorted(set(middles)))

    def _groups(self) -> list[list[_Candidate]]:
        """Candidates that overlap are looks at the same dissolve."""
        groups: list[list[_Candidate]] = []
        last = -1
        for candidate in sorted(self._found, key=lambda candidate: candidate.start):
            if candidate.start > last:
                groups.append([])
            groups[-1].append(candidate)
            last = max(last, candidate.end)
        return groups


def _widest(group: list[_Candidate]) -> _Candidate:
    """From the first to the last of those that see nearly all of the change."""
    most = max(candidate.change for candidate in group)
    full = [candidate for candidate in group if candidate.change > 0.9 * most]
    return _Candidate(min(one.start for one in full), max(one.end for one in full), most)


def _dissolve(quarters: list[Thumb]) -> float:
    """The difference of the two ends if all between are mixtures of them and they show different things, else 0."""
    first, last = quarters[0], quarters[-1]
    change = float(np.abs(last - first).mean())
    if change < CHANGED or min(first.std(), last.std()) < EVEN:
        return 0.0
    for part, picture in zip((0.25, 0.5, 0.75), quarters[1:-1], strict=True):
        if np.abs(picture - (first + part * (last - first))).mean() > LIKE_A_MIXTURE * change:
            return 0.0
    return change if _correlation(first, last) < ALIKE else 0.0


def _correlation(first: Thumb, last: Thumb) -> float:
    return float(np.mean((first - first.mean()) * (last - last.mean())) / (first.std() * last.std()))
