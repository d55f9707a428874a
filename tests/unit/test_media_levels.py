"""Levels: chunks of a shot are made to agree, within bounds, and what agrees already is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.media.chunkfile import write_chunk
from edits.media.levels import MAX_GAIN, MAX_OFFSET, SAME, Levels, Moments, Overlap, levelled, solve
from edits.media.overlaps import levels_of
from edits.media.records import StitchChunk


def moments(mean: float, spread: float) -> Moments:
    return Moments(np.full(3, mean), np.full(3, spread**2 + mean**2))


def test_two_chunks_meet_in_mean_and_spread() -> None:
    first, second = solve(2, [Overlap(0, 1, moments(100, 41), moments(98, 40))])
    assert first == SAME
    assert second.gain[0] == pytest.approx(41 / 40, abs=1e-3)
    assert second.gain[0] * 98 + second.offset[0] == pytest.approx(100, abs=0.1)


def test_what_cannot_be_matched_within_bounds_is_matched_as_far_as_they_go() -> None:
    _, second = solve(2, [Overlap(0, 1, moments(150, 60), moments(100, 30))])
    assert second.gain[0] == pytest.approx(MAX_GAIN)
    assert second.offset[0] == pytest.approx(MAX_OFFSET)


@given(steps=st.lists(st.floats(-4, 4), min_size=1, max_size=60))
def test_levels_stay_in_bounds_and_bring_every_overlap_of_a_shot_closer_together(steps) -> None:
    overlaps = [Overlap(n, n + 1, moments(100 + step, 40), moments(100, 40)) for n, step in enumerate(steps)]
    found = solve(len(steps) + 1, overlaps)
    offsets = np.array([levels.offset[0] for levels in found])
    assert np.all(np.abs(offsets) <= MAX_OFFSET + 1e-9)
    left = np.diff(offsets) - np.array(steps)
    assert float(np.square(left).sum()) <= float(np.square(steps).sum()) + 1e-9


def test_all_overlaps_of_a_shot_decide_together() -> None:
    """Three chunks that all overlap: the two ways from the first to the last contradict each other and are averaged."""
    overlaps = [
        Overlap(0, 1, moments(102, 40), moments(100, 40)),
        Overlap(1, 2, moments(102, 40), moments(100, 40)),
        Overlap(0, 2, moments(101, 40), moments(100, 40)),
    ]
    offsets = [levels.offset[0] for levels in solve(3, overlaps)]
    assert offsets == pytest.approx([0, 1, 2], abs=0.05)


def test_an_even_picture_has_no_contrast_to_match() -> None:
    _, second = solve(2, [Overlap(0, 1, moments(100, 0), moments(98, 40))])
    assert second.gain == (1.0, 1.0, 1.0)
    assert second.offset[0] == pytest.approx(2, abs=0.05)


def test_levels_are_a_gain_and_an_offset_a_channel() -> None:
    picture = np.full((2, 2, 3), 100, np.float32)
    changed = levelled(picture, Levels((1.0, 1.02, 0.98), (1.0, 0.0, -1.0)))
    assert changed[0, 0] == pytest.approx([101, 102, 97])


# -- from chunk files -------------------------------------------------------------------------------------------------


def shot(folder: Path, *lifts: int) -> list[StitchChunk]:
    """Chunks of 17 frames, stride 12, lead 2; the output of each is its input lifted by so many levels."""
    clip = np.random.default_rng(1).integers(40, 200, (12 * len(lifts) + 5, 16, 32, 3)).astype(np.uint8)
    chunks = []
    for number, lift in enumerate(lifts):
        start = 12 * number
        given, output = folder / f"{number}.input.mov", folder / f"{number}.output.mov"
        write_chunk(given, clip[start : start + 17])
        write_chunk(output, clip[start : start + 17] + np.uint8(lift))
        chunks.append(StitchChunk(start, start + 17, 0, 2 if number else 0, 0, str(given), str(output)))
    return chunks


def test_overlaps_that_agree_exactly_need_no_levels(tmp_path: Path) -> None:
    assert levels_of(shot(tmp_path, 5, 5, 5)) is None
    assert levels_of(shot(tmp_path, 0, 0)) is None
    assert levels_of(shot(tmp_path, 7)) is None


def test_a_chunk_that_came_out_brighter_is_brought_down_to_the_first(tmp_path: Path) -> None:
    levels = levels_of(shot(tmp_path, 5, 8, 5))
    assert levels is not None
    assert levels[0] == SAME
    assert levels[1].offset == pytest.approx((-3, -3, -3), abs=0.1)
    assert levels[2].offset == pytest.approx((0, 0, 0), abs=0.1)


def test_a_chunk_in_which_nothing_was_edited_stays_as_it_is(tmp_path: Path) -> None:
    levels = levels_of(shot(tmp_path, 4, 0, 4))
    assert levels is not None
    assert (levels[0], levels[1]) == (SAME, SAME)
    assert levels[2].offset[0] == pytest.approx(-4, abs=0.1)
