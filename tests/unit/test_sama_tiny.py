"""The random weights `tiny`: the numbers on the card, and a picture that survives them."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sama_model.cards import card
from sama_model.config import Options
from sama_model.editors.sama import load_sama, load_tiny
from sama_model.errors import WeightsError
from sama_model.tiny import TRANSFORMER, VAE

CARD = card("sama", "tiny")


def blocks(frames: int = 5, height: int = 32, width: int = 48) -> npt.NDArray[np.uint8]:
    """A clip of coloured 16x16 blocks."""
    rng = np.random.default_rng(3)
    cells = rng.integers(0, 256, (1, height // 16, width // 16, 3), dtype=np.uint8)
    return cells.repeat(frames, axis=0).repeat(16, axis=1).repeat(16, axis=2)


def test_the_drawn_numbers_are_those_of_the_cards_digest() -> None:
    assert load_sama(CARD, Options(), ()).card.digest == CARD.digest


def test_another_digest_is_refused() -> None:
    with pytest.raises(WeightsError, match="their card says 00"):
        load_tiny("00")


def test_weights_without_a_loader_are_refused() -> None:
    with pytest.raises(WeightsError, match="'14b'"):
        load_sama(dataclasses.replace(CARD, name="14b"), Options(), ())


def test_every_working_size_is_a_whole_number_of_patches() -> None:
    step = VAE.spatial_factor * TRANSFORMER.patch_size[1]
    assert all(width % step == 0 and height % step == 0 for width, height in CARD.buckets)
    assert all(width % 16 == 0 and height % 16 == 0 for width, height in CARD.buckets)
    assert all(width * height <= 160 * 96 for width, height in CARD.buckets)


def test_the_chunk_geometry_fits_the_vae() -> None:
    geometry = CARD.geometry
    overlap = geometry.chunk_frames - geometry.stride
    assert (geometry.chunk_frames % 4, geometry.stride % 4, overlap % 4) == (1, 0, 1)
    assert geometry.lead < overlap


def test_the_edited_picture_still_shows_the_source() -> None:
    frames = blocks()
    pipeline = load_tiny(CARD.digest)
    pipeline.set_progress_bar_config(disable=True)
    edited = pipeline(frames, "make it night", num_inference_steps=4).frames
    assert np.corrcoef(frames.ravel(), edited.ravel())[0, 1] > 0.7
    assert 0.02 < np.abs(frames.astype(float) - edited).mean() / 255 < 0.4
