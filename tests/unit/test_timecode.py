"""Positions: how they are written, and which frame they mean."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.errors import CellError
from edits.timecode import (
    FrameNumber,
    Seconds,
    Timecode,
    count,
    end_frame,
    nominal_rate,
    parse_position,
    start_frame,
    timecode_at,
    written,
)
from tests.fakes.intake import NTSC, make_index

FASTER_NTSC = Fraction(60000, 1001)


def at(text: str, **index: object) -> int:
    return start_frame(parse_position(text), make_index(**index))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("f120", FrameNumber(120, "")),
        ("F0", FrameNumber(0, "")),
        ("12.5s", Seconds(Fraction(25, 2), "")),
        ("7s", Seconds(Fraction(7), "")),
        ("01:00:12:05", Timecode(1, 0, 12, 5, False, "")),
        ("01:00:12;05", Timecode(1, 0, 12, 5, True, "")),
        ("01;00;12;05", Timecode(1, 0, 12, 5, True, "")),
    ],
)
def test_three_notations_are_read(text: str, position: object) -> None:
    assert parse_position(text) == position


@pytest.mark.parametrize(("text", "remedy"), [("120", "f120"), ("12.5", "12.5s"), ("12,5", "12.5s")])
def test_a_bare_number_is_refused_and_both_ways_to_write_it_are_named(text: str, remedy: str) -> None:
    with pytest.raises(CellError, match=remedy):
        parse_position(text)


@pytest.mark.parametrize(
    "text", ["", "f-1", "-1s", "1:2:3:4", "24:00:00:00", "00:60:00:00", "00:00:60:00", "f1.5", "nans", "1e3s", "f١"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        parse_position(text)


def test_mixed_separators_are_refused() -> None:
    with pytest.raises(CellError, match="mixes"):
        parse_position("01;00;12:05")


# -- seconds ----------------------------------------------------------------------------------------------------------


def test_seconds_mean_the_frame_that_is_on_the_screen_then() -> None:
    assert at("2s") == 50
    assert at("2.039s") == 50
    assert at("2.04s") == 51


def test_seconds_are_exact_at_rates_that_decimals_cannot_hold() -> None:
    # Frame 1001 of 30000/1001 begins at 33.400033.. s: the decimal just before it is still frame 1000.
    assert at("33.4s", frames=2000, rate=NTSC) == 1000
    assert at("33.400034s", frames=2000, rate=NTSC) == 1001


def test_seconds_follow_the_timestamps_of_a_variable_rate_and_begin_at_its_first_frame() -> None:
    index = make_index(rate=None, time_base=Fraction(1, 1000), pts=(500, 540, 700, 1500), last_duration=40)
    frames = [start_frame(Seconds(Fraction(ms, 1000), ""), index) for ms in (0, 39, 40, 199, 200, 999, 1000)]
    assert frames == [0, 0, 1, 1, 2, 2, 3]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_a_time_inside_a_frames_interval_is_that_frame(gaps: list[int], data: st.DataObject) -> None:
    pts = tuple(sum(gaps[:i]) for i in range(len(gaps)))
    index = make_index(rate=None, time_base=Fraction(1, 997), pts=pts, last_duration=gaps[-1])
    frame = data.draw(st.integers(0, len(gaps) - 1))
    inside = data.draw(st.fractions(0, 1).filter(lambda share: share < 1))
    seconds = (pts[frame] + gaps[frame] * inside) * index.time_base
    assert start_frame(Seconds(seconds, ""), index) == frame


def test_the_end_of_the_video_is_an_end_and_not_a_start() -> None:
    index = make_index(frames=50)
    assert end_frame(Seconds(Fraction(2), "2s"), index) == 50
    with pytest.raises(CellError, match="f49"):
        start_frame(Seconds(Fraction(2), "2s"), index)
    with pytest.raises(CellError, match=r"50 frames.*f50 \(2.000s\)"):
        end_frame(Seconds(Fraction(201, 100), "2.01s"), index)


# -- frames -----------------------------------------------------------------------------------------------------------


def test_no_position_means_the_whole_source() -> None:
    assert (start_frame(None, make_index(frames=7)), end_frame(None, make_index(frames=7))) == (0, 7)


def test_a_range_past_the_last_frame_says_what_the_last_allowed_one_is() -> None:
    with pytest.raises(CellError, match=r"has 7 frames\. The last frame to start at is f6"):
        start_frame(FrameNumber(7, "f7"), make_index(frames=7))
    with pytest.raises(CellError, match="at most f7"):
        end_frame(FrameNumber(8, "f8"), make_index(frames=7))


# -- timecode ---------------------------------------------------------------------------------------------------------


def test_timecode_counts_from_the_sources_own_start() -> None:
    assert at("01:00:02:05", timecode="01:00:00:00") == 55
    assert at("01:00:02:05", timecode="01:00:02:00") == 5


def test_a_source_without_timecode_counts_from_zero() -> None:
    assert at("00:00:02:05") == 55
    assert at("00:01:00;02", rate=NTSC, frames=2000) == 1800
    assert at("00:01:00:00", rate=NTSC, frames=2000) == 1800


@pytest.mark.parametrize(
    ("text", "nominal", "frames"),
    [
        ("00:00:59;29", 30, 1799),
        ("00:01:00;02", 30, 1800),
        ("00:10:00;00", 30, 17982),
        ("01:00:00;00", 30, 107892),
        ("23:59:59;29", 30, 2589407),
        ("00:01:00;04", 60, 3600),
        ("01:00:00;00", 60, 215784),
        ("01:00:00:00", 30, 108000),
    ],
)
def test_drop_frame_counts_as_the_standard_says(text: str, nominal: int, frames: int) -> None:
    timecode = parse_position(text)
    assert isinstance(timecode, Timecode)
    assert count(timecode, nominal) == frames
    assert written(timecode_at(frames, nominal, timecode.drop)) == text


@given(st.integers(0, 2589407), st.booleans(), st.sampled_from([30, 60]))
def test_every_frame_of_a_day_has_its_own_timecode(number: int, drop: bool, nominal: int) -> None:
    assert count(timecode_at(number, nominal, drop), nominal) == number


def test_a_dropped_number_is_refused_and_the_next_one_named() -> None:
    with pytest.raises(CellError, match="00:01:00;02"):
        at("00:01:00;00", rate=NTSC, frames=2000)


def test_frames_past_the_rate_are_refused() -> None:
    with pytest.raises(CellError, match="00 to 24"):
        at("00:00:00:25")


@pytest.mark.parametrize(
    ("text", "index", "message"),
    [
        ("00:00:01;00", {"rate": Fraction(25)}, "29.97 and 59.94 only"),
        ("00:00:01;00", {"rate": Fraction(24000, 1001)}, "29.97 and 59.94 only"),
        ("00:00:01;00", {"rate": Fraction(30)}, "29.97 and 59.94 only"),
        ("01:00:01:00", {"rate": NTSC, "timecode": "01:00:00;00"}, "drop-frame.*Put ; before"),
        ("01:00:01;00", {"rate": NTSC, "timecode": "01:00:00:00"}, "non-drop.*Put : before"),
        ("00:00:01:00", {"rate": None}, "varies"),
        ("00:00:01:00", {"rate": Fraction(25, 2)}, "no count"),
        ("00:00:01:00", {"timecode": "later"}, "own start timecode is 'later'"),
        ("00:59:59:00", {"timecode": "01:00:00:00"}, "starts at 01:00:00:00"),
        ("01:00:12:00", {"timecode": "01:00:00:00"}, r"01:00:11:24 \(f299\)"),
    ],
)
def test_a_timecode_that_means_nothing_on_the_source_is_explained(
    text: str, index: dict[str, object], message: str
) -> None:
    with pytest.raises(CellError, match=message):
        at(text, **index)


def test_a_source_may_run_past_midnight() -> None:
    assert at("00:00:01:00", timecode="23:59:59:00") == 50


def test_drop_frame_is_right_at_59_94() -> None:
    assert at("01:01:00;04", rate=FASTER_NTSC, timecode="01:00:59;00", frames=2000) == 60


@pytest.mark.parametrize(
    ("rate", "nominal"),
    [
        (Fraction(25), 25),
        (NTSC, 30),
        (Fraction(24000, 1001), 24),
        (Fraction(2997, 100), 30),
        (Fraction(29), 29),
        (Fraction(25, 2), None),
    ],
)
def test_the_rate_that_timecode_counts(rate: Fraction, nominal: int | None) -> None:
    assert nominal_rate(rate) == nominal
