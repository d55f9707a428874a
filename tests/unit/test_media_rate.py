"""Constant rates are found exactly, variable ones are never taken for constant."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.media.rate import constant_rate, last_duration
from tests.fakes.footage import variable

MS = Fraction(1, 1000)
FILM = Fraction(24000, 1001)


@given(
    rate=st.sampled_from([FILM, Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]),
    frames=st.integers(40, 5000),
    first=st.integers(0, 10_000),
)
def test_a_rate_rounded_to_milliseconds_is_found_through_the_headers_hint(rate, frames, first) -> None:
    pts = [first + round(1000 * number / rate) for number in range(frames)]
    assert constant_rate(pts, MS, [rate]) == rate


def test_equal_gaps_are_the_rate_whatever_the_header_says() -> None:
    pts = [767849 * number for number in range(300)]
    assert constant_rate(pts, Fraction(1, 23040000), [Fraction(30)]) == Fraction(23040000, 767849)


def test_film_in_milliseconds_is_not_24_when_it_lasts() -> None:
    pts = [round(1000 * number / FILM) for number in range(1000)]
    assert constant_rate(pts, MS, [Fraction(24), FILM]) == FILM


def test_gaps_of_one_to_seven_frames_are_no_rate() -> None:
    assert constant_rate(variable(50, 40), MS, [Fraction(25)]) is None


def test_one_late_frame_is_no_rate() -> None:
    pts = [40 * number for number in range(100)]
    pts[50] += 2
    assert constant_rate(pts, MS, [Fraction(25)]) is None


def test_one_frame_has_no_rate() -> None:
    assert constant_rate([0], MS, [Fraction(25)]) is None


@pytest.mark.parametrize(
    ("pts", "stated", "rate", "expected"),
    [
        ([0, 40], 33, Fraction(25), 33),
        ([0, 40], 0, Fraction(25), 40),
        ([0, 9, 79], 0, None, 70),
        ([0], 0, None, None),
    ],
)
def test_the_last_frame_lasts_as_stated_or_a_period_or_as_the_gap_before(pts, stated, rate, expected) -> None:
    assert last_duration(pts, stated, MS, rate) == expected
