"""The start timecode and the rate of a deliverable, and the span of time that it covers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from edits.media.audio import span_of
from edits.media.encode import average_rate
from edits.media.records import FrameIndex
from edits.timecode import timecode_of
from tests.unit.test_media_detail import index

NTSC = Fraction(30000, 1001)


def timed(timecode: str | None, rate: Fraction | None) -> FrameIndex:
    return replace(index(), timecode=timecode, rate=rate)


@pytest.mark.parametrize(
    ("timecode", "rate", "start", "expected"),
    [
        ("01:00:00:00", Fraction(25), 0, "01:00:00:00"),
        ("01:00:00:00", Fraction(25), 30, "01:00:01:05"),
        ("00:00:59;28", NTSC, 2, "00:01:00;02"),
        ("00:00:59:28", NTSC, 2, "00:01:00:00"),
        ("23:59:59:24", Fraction(25), 1, "00:00:00:00"),
    ],
)
def test_a_part_starts_at_the_timecode_of_its_first_frame(timecode, rate, start, expected) -> None:
    assert timecode_of(timed(timecode, rate), start) == expected


@pytest.mark.parametrize(
    ("timecode", "rate"),
    [
        (None, Fraction(25)),
        ("01:00:00:00", None),
        ("01:00:00;00", Fraction(25)),
        ("yesterday", Fraction(25)),
        ("01:00:00:30", Fraction(25)),
    ],
    ids=["none stated", "variable rate", "drop frame at 25", "not a timecode", "no such frame"],
)
def test_a_timecode_that_cannot_be_continued_is_not_restated(timecode, rate) -> None:
    assert timecode_of(timed(timecode, rate), 0) is None


def test_a_variable_rate_is_told_to_the_encoder_as_its_mean() -> None:
    varied = replace(index(), rate=None, pts=(0, 1, 5), last_duration=4)
    assert average_rate(varied) == Fraction(3 * 25, 9)


def test_a_whole_source_keeps_its_start_and_a_part_begins_at_zero() -> None:
    late = replace(index(), pts=(10, 11, 12), last_duration=1)
    whole, part = span_of(late, 0, 3), span_of(late, 1, 3)
    assert (whole.start, whole.end, whole.shift, whole.whole) == (Fraction(10, 25), Fraction(13, 25), 0, True)
    assert (part.start, part.end, part.shift, part.whole) == (Fraction(11, 25), Fraction(13, 25), part.start, False)


def test_times_before_zero_are_shifted_to_begin_at_zero() -> None:
    early = replace(index(), pts=(-3, -2), last_duration=1)
    assert span_of(early, 0, 2).shift == Fraction(-3, 25)
