"""Seam measures: a hard change shows, a soft one does not, and what the material does by itself counts as nothing."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from metrics.difference import mean_difference
from metrics.flow import flow_between, moved
from metrics.frames import luma_of
from metrics.luma import mean_step
from metrics.seams import Moment, seam_measure, step
from metrics.sharpness import laplacian_variance


def scene(number: int, seed: int = 0) -> np.ndarray:
    """A texture that moves by two pixels a frame."""
    noise = np.random.default_rng(seed).normal(0, 60, (96, 220, 3)).astype(np.float32)
    whole = cv2.GaussianBlur(noise, (0, 0), 3.0) * 5 + 120
    shift = np.array([[1, 0, -2 * number - 4], [0, 1, 0]], np.float32)
    return np.clip(cv2.warpAffine(whole, shift, (160, 96)), 0, 255).astype(np.uint8)


def steps(results: list[np.ndarray]) -> list:
    moments = [Moment(scene(n), result) for n, result in enumerate(results)]
    return [step(before, after) for before, after in pairwise(moments)]


def test_flow_says_where_a_pixel_was() -> None:
    flow = flow_between(luma_of(scene(0)), luma_of(scene(1)))
    assert np.median(flow[16:-16, 16:-16, 0]) == pytest.approx(2, abs=0.1)
    back = moved(luma_of(scene(0)), flow)
    assert np.abs(back - luma_of(scene(1)))[16:-16, 16:-16].mean() < 3


def test_the_simple_measures_are_what_they_are_called() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    assert mean_difference(grey, grey + np.uint8(3)) == 3
    assert mean_step(luma_of(grey), luma_of(grey + np.uint8(3))) == pytest.approx(3, abs=1e-4)
    sharp = luma_of(scene(0))
    assert laplacian_variance(cv2.GaussianBlur(sharp, (0, 0), 2)) < 0.3 * laplacian_variance(sharp)


def test_an_edit_without_a_seam_measures_as_one() -> None:
    found = steps([np.minimum(scene(n), 240) + np.uint8(10) for n in range(10)])
    measure = seam_measure(found[4:6], found[:4] + found[6:])
    assert measure.difference == pytest.approx(1, abs=0.05)
    assert measure.warp == pytest.approx(1, abs=0.25)
    assert measure.sharpness == pytest.approx(1, abs=0.05)
    assert measure.shows == ()


def test_a_jump_in_brightness_shows_in_luma() -> None:
    found = steps([np.minimum(scene(n), 240) + np.uint8(10 if n < 5 else 14) for n in range(10)])
    measure = seam_measure(found[4:5], found[:4] + found[5:])
    assert "luma" in measure.shows
    assert measure.luma > 10


def test_a_jump_in_content_shows_in_difference_and_warp() -> None:
    found = steps([scene(n, seed=0 if n < 5 else 7) for n in range(10)])
    measure = seam_measure(found[4:5], found[:4])
    assert {"difference", "warp"} <= set(measure.shows)


def test_a_ghost_shows_in_sharpness() -> None:
    mixed = [cv2.addWeighted(scene(n), 0.5, scene(n + 3), 0.5, 0) for n in range(4, 7)]
    found = steps([*map(scene, range(4)), *mixed, *map(scene, range(7, 10))])
    measure = seam_measure(found[3:7], [*found[:3], *found[7:]])
    assert "sharpness" in measure.shows


def test_a_seam_without_controls_is_not_measured() -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        seam_measure(steps([scene(0), scene(1)]), [])
