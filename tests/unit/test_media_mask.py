"""Masks: nothing outside an edit, all of its inside, steady in time; and the detail that each method keeps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.media.detail import Edit, edit_of
from edits.media.mask import METHODS, moved, redrawn, soft, steady, tone_offset, whole_change, windowed

SIZE = (192, 128)


def texture(seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 with detail of a few pixels."""
    noise = np.random.default_rng(seed).normal(0, 40, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 2 + 128, 0, 255).astype(np.uint8)


def replaced(source: np.ndarray, level: int = 220) -> np.ndarray:
    """The source with an even disc in its middle."""
    return cv2.circle(source.copy(), (96, 64), 30, (level,) * 3, -1)


def edit(output: np.ndarray, source: np.ndarray) -> Edit:
    found = edit_of(output, source, None)
    assert found is not None
    return found


@pytest.mark.parametrize("detail", ["full", "tone"])
def test_a_mask_is_one_inside_a_replaced_object_and_zero_away_from_it(detail: str) -> None:
    source, method = texture(), METHODS[detail]
    mask = soft(method.evidence(edit(replaced(source), source)), method)
    assert mask is not None
    assert mask.shape == (64, 96)
    assert mask[22:42, 38:58].min() > 0.99
    assert mask[:, :12].max() == 0
    assert mask[:, -12:].max() == 0


def test_a_models_grain_is_no_edit() -> None:
    source = texture()
    grain = np.random.default_rng(3).normal(0, 4, source.shape)
    output = np.clip(source + grain, 0, 255).astype(np.uint8)
    assert soft(moved(edit(output, source)), METHODS["full"]) is None


def test_a_change_of_contrast_is_tone_and_new_texture_is_not() -> None:
    source = texture()
    contrast = np.clip((source.astype(np.float32) - 128) * 0.85 + 140, 0, 255).astype(np.uint8)
    assert soft(redrawn(edit(contrast, source)), METHODS["tone"]) is None
    mask = soft(redrawn(edit(texture(9), source)), METHODS["tone"])
    assert mask is not None
    assert mask.mean() > 0.9


def test_tone_adds_the_difference_itself() -> None:
    source = texture()
    change = edit(replaced(source), source)
    assert whole_change(change, None, False) is change


def test_an_offset_reaches_around_an_edit_and_no_further() -> None:
    """The model made everything one level darker, which is drift, and the surroundings of the edit with it."""
    source = texture()
    output = replaced(np.clip(source.astype(int) - 1, 0, 255).astype(np.uint8))
    change = edit(output, source)
    mask = soft(moved(change), METHODS["full"])
    offset = tone_offset(change, mask, False)
    assert offset is not None
    assert np.all(offset.change[:, :4] == 0)
    assert np.any(offset.change[8:24, 12:36])


def test_a_picture_lit_as_a_whole_is_followed_by_full() -> None:
    source = texture()
    change = edit(np.minimum(source, 240) + np.uint8(10), np.minimum(source, 240))
    assert soft(moved(change), METHODS["full"]) is None
    assert tone_offset(change, None, True) is None, "a mask was given, and it is black"
    offset = tone_offset(change, None, False)
    assert offset is not None
    assert offset.change == pytest.approx(np.full_like(offset.change, 10), abs=0.1)


def test_a_flicker_of_evidence_becomes_a_steady_mask() -> None:
    """Evidence in every second frame: after the largest and the mean of the neighbours it hardly changes."""
    spot = np.zeros((8, 8), np.float32)
    spot[3:5, 3:5] = 40
    frames = [(n, spot if n % 2 else None) for n in range(20)]
    found = [evidence[3, 3] for _, evidence in steady(frames) if evidence is not None]
    assert len(found) == 20
    assert min(found) == max(found) == 40


def test_evidence_comes_before_and_goes_after_what_it_stands_for() -> None:
    spot = np.full((4, 4), 40, np.float32)
    found = list(steady((n, spot if n == 10 else None) for n in range(21)))
    assert [n for n, _ in found] == list(range(21))
    assert [n for n, evidence in found if evidence is not None] == list(range(6, 15))
    levels = [0.0 if evidence is None else float(evidence[0, 0]) for _, evidence in found]
    assert levels[10] == 40
    assert levels == levels[::-1]


@given(count=st.integers(0, 12), reach=st.integers(0, 4))
def test_windows_hold_each_items_neighbours(count: int, reach: int) -> None:
    found = list(windowed(((n, n) for n in range(count)), reach))
    expected = [(n, tuple(range(max(0, n - reach), min(count, n + reach + 1)))) for n in range(count)]
    assert found == expected
