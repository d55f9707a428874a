"""Whether timestamps are those of a constant frame rate, and which. Pure arithmetic on fractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

_USUAL = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)) + tuple(
    Fraction(n) for n in (12, 15, 24, 25, 30, 48, 50, 60, 100, 120)
)
"""Rates that are tried where neither the gaps nor the header give the rate."""


def constant_rate(pts: Sequence[int], time_base: Fraction, hints: Iterable[Fraction | None]) -> Fraction | None:
    """The rate r for which each timestamp lies within one tick of first + k/r, else None.

    Equal gaps give the rate themselves. Otherwise (Matroska rounds 1001/24000 s to whole milliseconds, and a short clip
    then suits several rates) the first that suits is taken: usual rates that the header's `hints` name, other usual
    rates, those nearest the mean first, the hints themselves, the mean.
    """
    if len(pts) < 2:
        return None
    mean = Fraction(len(pts) - 1) / ((pts[-1] - pts[0]) * time_base)
    gap = pts[1] - pts[0]
    if all(later - earlier == gap for earlier, later in pairwise(pts)):
        return mean
    stated = [hint for hint in hints if hint]
    near = sorted(_USUAL, key=lambda rate: abs(rate - mean))
    candidates = [*(hint for hint in stated if hint in _USUAL), *near, *stated, mean]
    return next((rate for rate in candidates if _keeps_to(pts, time_base, rate)), None)


def _keeps_to(pts: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """|(pts[k] - pts[0]) * time_base - k / rate| <= time_base, multiplied out so that only integers are compared."""
    step = 1 / (rate * time_base)
    up, down = step.numerator, step.denominator
    first = pts[0]
    return all(abs((value - first) * down - k * up) <= down for k, value in enumerate(pts))


def last_duration(pts: Sequence[int], stated: int, time_base: Fraction, rate: Fraction | None) -> int | None:
    """Ticks that the last frame is shown: as stated, else one period of the constant rate, else the gap before it."""
    if stated > 0:
        return stated
    if rate is not None:
        return max(1, round(1 / (rate * time_base)))
    return pts[-1] - pts[-2] if len(pts) > 1 else None
