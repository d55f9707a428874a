"""Black, frozen and flashing pictures are found where the source has none of them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edits.media.faults import Faults, Run, listed
from edits.media.marks import Mark


def even(level: float) -> Mark:
    return np.full(144, level, np.float32)


def moving(frames: int) -> list[Mark]:
    """A bright cell that walks over grey."""
    pictures = []
    for number in range(frames):
        picture = even(100)
        picture[number % 144] = 250
        pictures.append(picture)
    return pictures


def looked_at(found: list[Mark], source: list[Mark]) -> tuple[list[str], list[str], list[str]]:
    faults = Faults()
    for pair in zip(found, source, strict=True):
        faults.add(*pair)
    black, frozen, flashing = (list(map(str, runs)) for runs in (faults.black, faults.frozen, faults.flashes))
    return black, frozen, flashing


def test_a_source_beside_itself_has_no_faults() -> None:
    assert looked_at(moving(60), moving(60)) == ([], [], [])


def test_black_pictures_are_found_as_runs() -> None:
    found = moving(30)
    found[4] = found[5] = found[20] = even(2)
    assert looked_at(found, moving(30))[0] == ["4 to 5", "20"]


def test_a_fade_to_black_that_the_source_has_is_none() -> None:
    fade = [even(200 - 10 * number) for number in range(21)]
    assert looked_at([mark * np.float32(0.4) for mark in fade], fade) == ([], [], [])
    assert looked_at(fade, fade) == ([], [], [])


@pytest.mark.parametrize(("length", "expected"), [(8, []), (9, ["10 to 18"]), (20, ["10 to 29"])])
def test_a_freeze_is_nine_equal_pictures_while_the_source_moves(length: int, expected: list[str]) -> None:
    found = moving(60)
    found[10 : 10 + length] = [found[10]] * length
    assert looked_at(found, moving(60))[1] == expected


def test_a_still_source_is_no_freeze() -> None:
    assert looked_at([even(90)] * 40, [even(90)] * 40)[1] == []


@pytest.mark.parametrize("level", [40.0, 170.0])
def test_one_picture_that_stands_out_is_a_flash(level: float) -> None:
    found = moving(30)
    found[12] = even(level)
    assert looked_at(found, moving(30))[2] == ["12"]


def test_a_cut_is_no_flash() -> None:
    source = [even(40)] * 10 + [even(200)] * 10
    assert looked_at([even(60)] * 10 + [even(180)] * 10, source)[2] == []


def test_frames_are_listed_as_people_write_them() -> None:
    assert listed([Run(20, 20)]) == "frame 20"
    assert listed([Run(20, 29)]) == "frames 20 to 29"
    assert listed([Run(20, 20), Run(30, 31)]) == "frames 20, 30 to 31"
    assert listed([Run(n, n) for n in range(7)]) == "frames 0, 1, 2, 3, 4 and 2 more"
