"""Where a range begins and ends: frame numbers, seconds and SMPTE timecode, resolved exactly against a frame index.

Seconds count from the first frame's presentation. Timecode counts from the source's start timecode, or from zero where
the source states none, as every editing program does. Knows nothing of manifests.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from fractions import Fraction

from edits.errors import CellError
from edits.media.records import FrameIndex
from edits.wording import counted

DROP_FRAME_RATES = (30, 60)
"""Nominal rates whose 1000/1001 form has drop-frame counting (29.97 and 59.94)."""

HOW_TO_WRITE = "Write a frame number (f120), seconds (12.5s) or a timecode (01:00:12:05; 01:00:12;05 for drop frame)."
_FRAME = re.compile(r"[fF]([0-9]{1,12})")
_SECONDS = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)[sS]")
_TIMECODE = re.compile(r"([0-9]{2})([:;])([0-9]{2})\2([0-9]{2})([:;])([0-9]{2,3})")
_BARE_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)?")


@dataclass(frozen=True, slots=True)
class FrameNumber:
    """`f120`: a frame in decode order, from 0."""

    frame: int
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Seconds:
    """`12.5s`: the frame that is on the screen that long after the first appeared."""

    seconds: Fraction
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Timecode:
    """`01:00:12:05` or, with `drop`, `01:00:12;05`."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool
    text: str = field(compare=False)


Position = FrameNumber | Seconds | Timecode


# -- syntax -----------------------------------------------------------------------------------------------------------


def parse_position(text: str) -> Position:
    """Read `text` as a position; whether it lies on a source is another question.

    Raises:
        CellError: none of the three notations.
    """
    if match := _FRAME.fullmatch(text):
        return FrameNumber(int(match[1]), text)
    if match := _SECONDS.fullmatch(text):
        return Seconds(Fraction(match[1]), text)
    if match := _TIMECODE.fullmatch(text):
        return _timecode(match, text)
    if _BARE_NUMBER.fullmatch(text):
        number = text.replace(",", ".")
        frame = number.partition(".")[0]
        raise CellError(
            "a bare number may mean frames or seconds.", f"Write f{frame} for a frame or {number}s for time."
        )
    raise CellError("this is not a position in a video.", HOW_TO_WRITE)


def _timecode(match: re.Match[str], text: str) -> Timecode:
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 3, 4, 6))
    if match[2] == ";" and match[5] == ":":
        raise CellError(
            "this timecode mixes its separators.", "Put ; before the frames for drop frame, : for non-drop."
        )
    if hours > 23 or minutes > 59 or seconds > 59:
        raise CellError("a timecode ends at 23:59:59.", HOW_TO_WRITE)
    return Timecode(hours, minutes, seconds, frames, match[5] == ";", text)


# -- counting ---------------------------------------------------------------------------------------------------------


def nominal_rate(rate: Fraction) -> int | None:
    """Frames that timecode counts in a second: 30 for 30000/1001, 25 for 25; None where SMPTE 12M has no count.

    A rate that a file rounds to 29.97 or 23.976 counts like the exact one: it is off by a frame in a day.
    """
    if rate.denominator == 1:
        return int(rate)
    whole = round(rate * 1001 / 1000)
    return whole if abs(rate * 1001 / 1000 - whole) < Fraction(1, 1000) else None


def _dropped(nominal: int, drop: bool) -> int:
    """Numbers left out at the start of each minute but every tenth: 2 at 29.97, 4 at 59.94 (SMPTE 12M)."""
    return nominal // 15 if drop else 0


def count(timecode: Timecode, nominal: int) -> int:
    """Frames from 00:00:00:00 to `timecode`.

    Raises:
        CellError: a number that this count does not have (frames past the rate, a dropped number).
    """
    dropped = _dropped(nominal, timecode.drop)
    if timecode.frames >= nominal:
        raise CellError(f"at this rate the last field goes from 00 to {nominal - 1:02}.", "Correct the frames.")
    minutes = timecode.hours * 60 + timecode.minutes
    if timecode.frames < dropped and timecode.seconds == 0 and minutes % 10:
        exists = written(Timecode(timecode.hours, timecode.minutes, 0, dropped, True, ""))
        raise CellError("drop-frame counting leaves this number out.", f"The minute begins at {exists}.")
    return (minutes * 60 + timecode.seconds) * nominal + timecode.frames - dropped * (minutes - minutes // 10)


def timecode_at(number: int, nominal: int, drop: bool) -> Timecode:
    """The timecode that stands `number` frames after 00:00:00:00, wrapping at midnight: the inverse of `count`."""
    dropped = _dropped(nominal, drop)
    number %= _day(nominal, drop)
    tens, rest = divmod(number, nominal * 600 - dropped * 9)
    number += dropped * 9 * tens
    if rest >= nominal * 60:
        number += dropped * (1 + (rest - nominal * 60) // (nominal * 60 - dropped))
    seconds, frames = divmod(number, nominal)
    return Timecode(seconds // 3600, seconds // 60 % 60, seconds % 60, frames, drop, "")


def written(timecode: Timecode) -> str:
    """`HH:MM:SS:FF`, with `;` before the frames for drop frame."""
    head = f"{timecode.hours:02}:{timecode.minutes:02}:{timecode.seconds:02}"
    return f"{head}{';' if timecode.drop else ':'}{timecode.frames:02}"


def _day(nominal: int, drop: bool) -> int:
    return nominal * 86400 - _dropped(nominal, drop) * 1296


# -- on a source ------------------------------------------------------------------------------------------------------


def start_frame(position: Position | None, index: FrameIndex) -> int:
    """First frame of a range: 0 for None.

    Raises:
        CellError: not on this source; the remedy names the last frame that is.
    """
    frame = 0 if position is None else _frame_of(position, index)
    if frame >= index.frames:
        last = _like(position, index.frames - 1, index)
        raise CellError(f"the source has {counted(index.frames, 'frame')}.", f"The last frame to start at is {last}.")
    return frame


def end_frame(position: Position | None, index: FrameIndex) -> int:
    """Frame after the last of a range: the number of frames for None.

    Raises:
        CellError: not on this source; the remedy names the last end that is.
    """
    frame = index.frames if position is None else _frame_of(position, index)
    if frame > index.frames:
        last = _like(position, index.frames, index)
        raise CellError(
            f"the source has {index.frames} frames.", f"The end is exclusive: at most {last}; empty means the last."
        )
    return frame


def _frame_of(position: Position, index: FrameIndex) -> int:
    """May lie past the source's end, for the callers to refuse."""
    if isinstance(position, FrameNumber):
        return position.frame
    if isinstance(position, Seconds):
        return _frame_at(position.seconds, index)
    return _frame_of_timecode(position, index)


def _frame_at(seconds: Fraction, index: FrameIndex) -> int:
    """The frame whose presentation interval contains the time; the very end of the last is the end of the video."""
    if seconds > index.duration:
        return index.frames + 1
    if seconds == index.duration:
        return index.frames
    return bisect_right(index.pts, index.pts[0] + seconds / index.time_base) - 1


def _frame_of_timecode(position: Timecode, index: FrameIndex) -> int:
    nominal = _counted_rate(index)
    first = _source_start(position, index)
    _same_counting(position, first, index, nominal)
    frame = count(position, nominal) - count(first, nominal)
    if frame >= 0:
        return frame
    after_midnight = frame + _day(nominal, position.drop)
    if after_midnight <= index.frames:
        return after_midnight
    raise CellError(f"the source starts at {written(first)}.", f"Write {written(first)} or later.")


def _counted_rate(index: FrameIndex) -> int:
    if index.rate is None:
        raise CellError("the source's frame rate varies: timecode means nothing there.", "Write f120 or 12.5s.")
    nominal = nominal_rate(index.rate)
    if nominal is None or nominal < 1:
        raise CellError(f"timecode has no count for {index.rate} frames a second.", "Write f120 or 12.5s.")
    return nominal


def _source_start(position: Timecode, index: FrameIndex) -> Timecode:
    if index.timecode is None:
        return Timecode(0, 0, 0, 0, position.drop, "")
    match = _TIMECODE.fullmatch(index.timecode)
    if match is None:
        raise CellError(f"the source's own start timecode is '{index.timecode}'.", "Write f120 or 12.5s.")
    return _timecode(match, index.timecode)


def _same_counting(position: Timecode, first: Timecode, index: FrameIndex, nominal: int) -> None:
    """`;` and `:` count differently after the first minute, so one is never read as the other."""
    assert index.rate is not None
    if position.drop and (index.rate.denominator == 1 or nominal not in DROP_FRAME_RATES):
        raise CellError(
            f"';' is drop-frame counting, which exists at 29.97 and 59.94 only; the source has {float(index.rate):g}.",
            "Put : before the frames.",
        )
    if position.drop != first.drop:
        mark = ";" if first.drop else ":"
        kind = "drop-frame" if first.drop else "non-drop"
        raise CellError(f"the source counts {kind} timecode from {written(first)}.", f"Put {mark} before the frames.")


def _like(position: Position | None, frame: int, index: FrameIndex) -> str:
    """`frame` in the notation of `position`, as far as that is exact, with the frame number."""
    if isinstance(position, Timecode):
        nominal = _counted_rate(index)
        first = count(_source_start(position, index), nominal)
        return f"{written(timecode_at(first + frame, nominal, position.drop))} (f{frame})"
    if isinstance(position, Seconds):
        ticks = index.pts[frame] - index.pts[0] if frame < index.frames else index.duration / index.time_base
        return f"f{frame} ({float(ticks * index.time_base):.3f}s)"
    return f"f{frame}"


# -- as deliverables state it -----------------------------------------------------------------------------------------


def timecode_of(index: FrameIndex, start: int) -> str | None:
    """The source's timecode at frame `start`; None without a start timecode or a rate that timecode counts."""
    if index.timecode is None or index.rate is None:
        return None
    try:
        first = parse_position(index.timecode)
        nominal = nominal_rate(index.rate)
        if not isinstance(first, Timecode) or not nominal:
            return None
        if first.drop and (index.rate.denominator == 1 or nominal not in DROP_FRAME_RATES):
            return None
        return written(timecode_at(count(first, nominal) + start, nominal, first.drop))
    except CellError:
        return None
