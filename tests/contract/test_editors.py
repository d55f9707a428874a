"""What every editor promises, whatever it is: one suite over all cards."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from sama_model.cards import CARDS
from sama_model.config import WeightsCard
from sama_model.editors import load
from sama_model.editors.base import Editor, EditRequest, unused_progress

INSTRUCTION = "make it sepia please"
"""Means something to every editor."""

PASSTHROUGH = ("1", "2d5db6fe34f76792")
"""Version and digest of the output."""

GRADE = (
    "1",
    {
        "grayscale": "2f9aa4aeef63da8f",
        "sepia": "184d4ae19c0de173",
        "invert": "e0d42518781ada1c",
        "warmer": "cd10aaa68aae327f",
        "cooler": "f13750ed40b9ada7",
        "posterise": "e95afe12a221b1fb",
    },
)
"""Version and digests of the outputs by instruction."""

SAMA = (
    "1",
    """74.6 174.9 189.5 151.0 126.8 150.7 117.2 107.7 168.7 68.6 141.5 165.0 97.7 169.2 188.9 79.9 154.9 132.0
    103.4 157.1 139.1 139.5 153.7 156.5 104.5 130.0 148.7 121.0 132.6 140.1 106.7 179.5 125.6 39.6 168.7 131.1
    109.9 130.6 147.1 69.8 171.0 164.4 138.7 135.0 120.2 88.5 154.8 86.9 71.0 139.7 129.0 90.9 168.3 155.0
    106.3 118.5 170.8 91.9 158.0 138.0 126.7 145.9 158.4 49.1 154.5 142.2 112.0 122.9 158.4 104.0 171.4 115.9
    146.7 139.2 135.9 124.1 126.7 146.8 65.0 169.9 178.4 109.7 174.0 162.6 90.6 158.4 115.2 66.6 140.6 136.5""",
)
"""Version and mean levels of the output."""


def clip(frames: int = 5, height: int = 32, width: int = 48) -> npt.NDArray[np.uint8]:
    """Coloured 8x8 blocks that move a block to the right every frame."""
    cells = np.random.default_rng(11).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    moved = np.stack([np.roll(cells, shift, axis=1) for shift in range(frames)])
    return moved.repeat(8, axis=1).repeat(8, axis=2)


def request_for(card: WeightsCard, frames: npt.NDArray[np.uint8] | None = None, seed: int = 0) -> EditRequest:
    recipe = card.recipes[0][1] if card.recipes else None
    return EditRequest(clip() if frames is None else frames, INSTRUCTION, seed, recipe)


@pytest.fixture(scope="module", params=sorted(CARDS), ids="-".join)
def editor(request: pytest.FixtureRequest) -> Editor:
    return load(*request.param)


def test_the_result_has_the_shape_of_the_clip(editor: Editor) -> None:
    edited = editor.edit(request_for(editor.card), unused_progress)
    assert edited.shape == clip().shape
    assert edited.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (9, 48, 32)])
def test_other_lengths_and_sizes_are_edited_too(editor: Editor, frames: int, height: int, width: int) -> None:
    given = clip(frames, height, width)
    assert editor.edit(request_for(editor.card, given), unused_progress).shape == given.shape


def test_the_same_request_gives_the_same_bits(editor: Editor) -> None:
    first, second = (editor.edit(request_for(editor.card), unused_progress) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_clip_that_was_given_is_not_changed(editor: Editor) -> None:
    given = clip()
    editor.edit(request_for(editor.card, given), unused_progress)
    assert np.array_equal(given, clip())


def test_progress_counts_up_to_all_steps(editor: Editor) -> None:
    calls: list[tuple[int, int]] = []
    editor.edit(request_for(editor.card), lambda done, total: calls.append((done, total)))
    total = calls[0][1]
    assert calls == [(done, total) for done in range(1, total + 1)]


def test_what_progress_raises_passes_through_untouched(editor: Editor) -> None:
    stop = KeyboardInterrupt("enough")

    def interrupt(done: int, total: int) -> None:
        raise stop

    with pytest.raises(KeyboardInterrupt) as caught:
        editor.edit(request_for(editor.card), interrupt)
    assert caught.value is stop
    assert editor.edit(request_for(editor.card), unused_progress).shape == clip().shape


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((5, 32, 48), dtype=np.uint8),
        np.zeros((5, 32, 48, 4), dtype=np.uint8),
        np.zeros((0, 32, 48, 3), dtype=np.uint8),
        np.zeros((5, 32, 48, 3), dtype=np.float32),
    ],
    ids=["no channels", "alpha", "no frames", "floats"],
)
def test_an_array_that_is_no_clip_is_refused(editor: Editor, frames: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"an editor takes \(T, H, W, 3\) uint8"):
        editor.edit(request_for(editor.card, frames), unused_progress)


def test_a_recipe_is_taken_exactly_where_there_is_a_sampler(editor: Editor) -> None:
    recipe = None if editor.card.recipes else CARDS["sama", "tiny"].recipes[0][1]
    with pytest.raises(ValueError, match="sampl"):
        editor.edit(EditRequest(clip(), INSTRUCTION, 0, recipe), unused_progress)


def test_it_says_where_it_runs_and_by_which_card(editor: Editor) -> None:
    assert editor.device
    assert CARDS[editor.card.editor, editor.card.name] == editor.card


# -- what only a sampler promises -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sama() -> Editor:
    return load("sama", "tiny")


def test_a_seed_decides_a_sampled_result(sama: Editor) -> None:
    first, second = (sama.edit(request_for(sama.card, seed=seed), unused_progress) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_place_in_the_shot_decides_a_sampled_result(sama: Editor) -> None:
    request = request_for(sama.card)
    later = dataclasses.replace(request, first_latent=3)
    assert not np.array_equal(sama.edit(request, unused_progress), sama.edit(later, unused_progress))


# -- versions ---------------------------------------------------------------------------------------------------------

RAISE = "an editor's output changed: raise its version on the card, then record the new output here"


def digest(editor: str, instruction: str) -> str:
    edited = load(editor, "builtin").edit(EditRequest(clip(), instruction), unused_progress)
    return hashlib.sha256(np.ascontiguousarray(edited).tobytes()).hexdigest()[:16]


def test_the_version_belongs_to_the_recorded_output_of_passthrough() -> None:
    assert (CARDS["passthrough", "builtin"].editor_version, digest("passthrough", "as it is")) == PASSTHROUGH, RAISE


def test_the_version_belongs_to_the_recorded_outputs_of_grade() -> None:
    outputs = {name: digest("grade", name) for name in GRADE[1]}
    assert (CARDS["grade", "builtin"].editor_version, outputs) == GRADE, RAISE


def test_the_version_belongs_to_the_recorded_output_of_sama(sama: Editor) -> None:
    """Mean levels of 16x16 blocks of every frame's channels: rounding differs between CPUs, these hardly do."""
    edited = sama.edit(request_for(sama.card), unused_progress).astype(np.float64)
    means = edited.reshape(5, 2, 16, 3, 16, 3).mean(axis=(2, 4))
    version, recorded = SAMA
    assert sama.card.editor_version == version, RAISE
    np.testing.assert_allclose(means.ravel(), np.array(recorded.split(), dtype=float), rtol=0, atol=0.3, err_msg=RAISE)
