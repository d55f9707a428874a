"""Faults that are seen in a deliverable and not in its source: black, frozen and flashing pictures. Marks in, runs out.

Thresholds are in levels of 8 bits. Each rule asks that the source does not do the same: an edit of a fade stays a fade.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edits.media.marks import Mark

BLACK = 8.0
"""Brightest cell of a picture that counts as black; ffmpeg's blackdetect calls pixels below a tenth black."""
SOURCE_LIT = 24.0
"""Brightest cell of the source from which its picture is surely not meant to be black."""
STILL = 0.06
"""Mean difference of two pictures that counts as none."""
SOURCE_MOVES = 0.5
"""Mean difference from which the source surely moves."""
FROZEN_FRAMES = 8
"""Changes in a row that are missing before it is called a freeze."""
FLASH = 24.0
"""Mean levels by which one picture stands out from both its neighbours."""
SOURCE_CALM = 8.0
LISTED = 5
"""Runs that a check names."""


@dataclass(frozen=True)
class Run:
    """Frames `first` to `last` of the deliverable, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def listed(runs: Sequence[Run]) -> str:
    """`frame 20`, `frames 20 to 29`, `frames 3, 20 to 29`; of many runs the first."""
    what = "frame" if len(runs) == 1 and runs[0].first == runs[0].last else "frames"
    more = f" and {len(runs) - LISTED} more" if runs[LISTED:] else ""
    return f"{what} {', '.join(map(str, runs[:LISTED]))}{more}"


class Faults:
    """Looks at the deliverable's and the source's marks side by side, in order."""

    def __init__(self) -> None:
        self.black: list[Run] = []
        self.frozen: list[Run] = []
        self.flashes: list[Run] = []
        self._still = 0
        self._seen: deque[tuple[Mark, Mark]] = deque(maxlen=3)
        self._count = 0

    def add(self, found: Mark, source: Mark) -> None:
        """One frame."""
        number = self._count
        if found.max() < BLACK and source.max() > SOURCE_LIT:
            _extend(self.black, number)
        self._look_for_freeze(number, found, source)
        self._seen.append((found, source))
        if len(self._seen) == 3 and self._flashes():
            _extend(self.flashes, number - 1)
        self._count += 1

    def _look_for_freeze(self, number: int, found: Mark, source: Mark) -> None:
        if not self._seen:
            return
        before, source_before = self._seen[-1]
        still = np.abs(found - before).mean() < STILL and np.abs(source - source_before).mean() > SOURCE_MOVES
        self._still = self._still + 1 if still else 0
        if self._still == FROZEN_FRAMES:
            self.frozen.append(Run(number - FROZEN_FRAMES, number))
        elif self._still > FROZEN_FRAMES:
            self.frozen[-1] = Run(self.frozen[-1].first, number)

    def _flashes(self) -> bool:
        found, source = (_stands_out(*(pair[place] for pair in self._seen)) for place in (0, 1))
        return found > FLASH and source < SOURCE_CALM


def _stands_out(before: Mark, middle: Mark, after: Mark) -> float:
    """By how much the middle picture's mean lies outside those of its neighbours."""
    low, high = sorted((float(before.mean()), float(after.mean())))
    mean = float(middle.mean())
    return max(mean - high, low - mean, 0.0)


def _extend(runs: list[Run], number: int) -> None:
    if runs and runs[-1].last == number - 1:
        runs[-1] = Run(runs[-1].first, number)
    else:
        runs.append(Run(number, number))
