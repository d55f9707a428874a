"""Dissolves are found in their middle; pans, fades, changes of light and hard cuts are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edits.media.dissolves import DissolveFinder


def scene(seed: int, number: int) -> np.ndarray:
    """(H, W, 3) float32: large shapes that move by a third of a pixel a frame."""
    noise = np.random.default_rng(seed).normal(0, 60, (144, 300, 3)).astype(np.float32)
    whole = cv2.GaussianBlur(noise, (0, 0), 8) * 12 + 110
    return cv2.warpAffine(whole, np.float32([[1, 0, -number / 3], [0, 1, 0]]), (256, 144))


def borders(frames: list[np.ndarray], cuts: tuple[int, ...] = ()) -> tuple[int, ...]:
    finder = DissolveFinder()
    for number, frame in enumerate(frames):
        finder.add(number, np.clip(frame, 0, 255).astype(np.uint8))
    return finder.borders(cuts)


def dissolving(length: int, start: int = 30, total: int = 90) -> list[np.ndarray]:
    shares = np.clip((np.arange(total) - start) / length, 0, 1)
    return [scene(1, n) * (1 - share) + scene(2, n) * share for n, share in enumerate(shares)]


@pytest.mark.parametrize("length", [8, 12, 20, 24, 40])
def test_a_dissolve_is_a_border_in_its_middle(length: int) -> None:
    (border,) = borders(dissolving(length))
    assert border == pytest.approx(30 + length / 2, abs=max(2, length / 6))


def test_two_dissolves_are_two_borders() -> None:
    first, second = dissolving(16, 20, 70), dissolving(16, 20, 70)
    assert len(borders([*first, *reversed(second)])) == 2


def test_a_border_is_not_found_again_where_a_cut_was() -> None:
    assert borders(dissolving(12), cuts=(36,)) == ()


def test_what_only_looks_like_a_dissolve_is_none() -> None:
    assert borders([scene(1, n) for n in range(60)]) == ()
    assert borders([scene(1, 12 * n) for n in range(10)]) == (), "a pan"
    assert borders([scene(1, n) * max(0, 1 - n / 24) for n in range(60)]) == (), "a fade to black"
    assert borders([scene(1, n) * (0.5 + min(n, 24) / 48) for n in range(60)]) == (), "a light that comes on"
    assert borders([scene(1 if n < 30 else 2, n) for n in range(60)]) == (), "a hard cut"
