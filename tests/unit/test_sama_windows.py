"""Windows of a shot: one is the plain run, several agree after every step, what is kept goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sama_model import cards
from sama_model.config import Options, Recipe
from sama_model.editors.base import EditRequest, ShotEditor, unused_progress
from sama_model.editors.sama import SamaEditor, load_sama
from sama_model.tokens import Joint
from sama_model.windows import Progressed, Window, agreed, packed, unpacked, weight, whole

RECIPE = Recipe(3, 2.0, 5.0)


class Kept:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.saved: list[bytes] = []

    def load(self) -> bytes | None:
        return self.saved[-1] if self.saved else None

    def save(self, data: bytes) -> None:
        self.saved.append(data)


@pytest.fixture(scope="module")
def editor() -> SamaEditor:
    return load_sama(cards.card("sama", "tiny"), Options(), ["make it snow"])


def clip(frames: int) -> np.ndarray:
    """(T, H, W, 3): a square that moves over noise."""
    still = np.random.default_rng(5).integers(60, 120, (48, 80, 3)).astype(np.uint8)
    whole = np.repeat(still[None], frames, axis=0)
    for number in range(frames):
        whole[number, 16:28, number : number + 12] = (220, 180, 60)
    return whole


def requests(frames: np.ndarray, *ranges: tuple[int, int]) -> list[EditRequest]:
    return [EditRequest(frames[a:b], "make it snow", 7, RECIPE, a // 4) for a, b in ranges]


THREE = ((0, 17), (12, 29), (20, 37))
"""Windows of the tiny card in a shot of 37 frames; the middle frames lie in all three."""


# -- arithmetic -------------------------------------------------------------------------------------------------------


def joint(window: Window, value: float) -> Joint:
    video = torch.full((1, 2, window.end - window.first, 1, 1), value)
    return Joint(video, torch.full((1, 1, 1), value))


@given(st.integers(4, 9), st.integers(2, 4), st.integers(2, 5))
def test_shared_latents_are_equal_and_others_untouched(length: int, overlap: int, count: int) -> None:
    stride = max(1, length - overlap)
    windows = [Window(n * stride, n * stride + length) for n in range(count)]
    states = [joint(window, float(n)) for n, window in enumerate(windows)]
    after = agreed(states, windows)
    for place in range(windows[-1].end):
        sharing = [n for n, w in enumerate(windows) if w.first < place < w.end or place == w.first == 0]
        values = {float(after[n].video[0, 0, place - windows[n].first, 0, 0]) for n in sharing}
        assert len(values) == 1
        if len(sharing) == 1:
            assert values == {float(sharing[0])}
    for n, window in enumerate(windows):
        assert float(after[n].video[0, 0, 0, 0, 0]) == n, f"{window}: its first latent is its own"
        assert torch.equal(after[n].semantic, states[n].semantic)


def test_weights_of_two_windows_are_a_ramp_that_sums_to_one() -> None:
    windows = [Window(0, 21), Window(16, 37)]
    later = [weight(windows, 1, place) for place in range(17, 21)]
    assert later == pytest.approx([1 / 5, 2 / 5, 3 / 5, 4 / 5])
    assert [weight(windows, 0, place) + weight(windows, 1, place) for place in range(17, 21)] == pytest.approx([1] * 4)


def test_the_whole_shot_takes_no_windows_own_first_latent() -> None:
    windows = [Window(0, 5), Window(3, 8)]
    states = [joint(windows[0], 1.0), joint(windows[1], 2.0)]
    assert whole(states, windows)[0, 0, :, 0, 0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2]


def test_what_was_kept_of_another_run_is_not_gone_on_with() -> None:
    windows = [Window(0, 5)]
    start = Progressed(0, (joint(windows[0], 1.0),))
    kept = packed(Progressed(2, (joint(windows[0], 3.0),)))
    found = unpacked(kept, start)
    assert found is not None
    assert (found.step, float(found.states[0].video.mean())) == (2, 3.0)
    assert unpacked(kept, Progressed(0, (joint(Window(0, 6), 1.0),))) is None
    assert unpacked(kept, Progressed(0, (joint(windows[0], 1.0), joint(windows[0], 1.0)))) is None


# -- the editor -------------------------------------------------------------------------------------------------------


def test_one_window_is_the_plain_edit_bit_for_bit(editor: SamaEditor) -> None:
    (request,) = requests(clip(17), (0, 17))
    (together,) = editor.edit_together([request], unused_progress, Kept())
    assert np.array_equal(together, editor.edit(request, unused_progress))


def test_three_windows_agree_after_every_step_and_in_their_frames(editor: SamaEditor, monkeypatch) -> None:
    seen: list[Progressed] = []

    def noted(progressed: Progressed) -> dict[str, torch.Tensor]:
        seen.append(progressed)
        return packed(progressed)

    monkeypatch.setattr("sama_model.editors.sama.packed", noted)
    monkeypatch.setattr("sama_model.editors.sama.KEPT_STEPS", 1)
    edited = editor.edit_together(requests(clip(37), *THREE), unused_progress, Kept())
    windows = [Window(a // 4, (b - 1) // 4 + 1) for a, b in THREE]
    assert [progressed.step for progressed in seen] == [1, 2]
    for progressed in seen:
        assert_agree(progressed, windows)
    for (a, b), (c, d), first, second in ((*pair, *two) for pair, two in zip(
        [(THREE[0], THREE[1]), (THREE[1], THREE[2])], [(edited[0], edited[1]), (edited[1], edited[2])], strict=True
    )):  # fmt: skip
        assert d > b > c > a
        assert np.array_equal(first[c - a :], second[: b - c])


def assert_agree(progressed: Progressed, windows: list[Window]) -> None:
    for place in range(windows[-1].end):
        sharing = [n for n, w in enumerate(windows) if w.first < place < w.end or place == w.first == 0]
        frames = [progressed.states[n].video[:, :, place - windows[n].first] for n in sharing]
        assert all(torch.equal(frames[0], other) for other in frames[1:])


def test_a_run_that_was_killed_goes_on_to_the_same_pictures(editor: SamaEditor, monkeypatch) -> None:
    monkeypatch.setattr("sama_model.editors.sama.KEPT_STEPS", 1)
    asked = requests(clip(29), *THREE[:2])
    expected = editor.edit_together(asked, unused_progress, Kept())
    kept, steps = Kept(), []

    def killed(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        editor.edit_together(asked, killed, kept)
    again = editor.edit_together(asked, lambda done, total: steps.append(done), kept)
    assert steps == [3]
    assert all(np.array_equal(one, other) for one, other in zip(expected, again, strict=True))


def test_a_step_cache_or_a_gap_is_refused(editor: SamaEditor) -> None:
    asked = requests(clip(37), *THREE)
    cached = [replace(request, recipe=Recipe(3, 2.0, 5.0, step_cache=0.1)) for request in asked]
    with pytest.raises(ValueError, match="no step cache"):
        editor.edit_together(cached, unused_progress, Kept())
    with pytest.raises(ValueError, match="share no latent"):
        editor.edit_together([asked[0], asked[2]], unused_progress, Kept())


def test_sixteen_bits_are_the_same_picture_finer(editor: SamaEditor) -> None:
    (request,) = requests(clip(5), (0, 5))
    deep = editor.edit(replace(request, deep=True), unused_progress)
    plain = editor.edit(request, unused_progress)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - plain).max() <= 1.01
    assert len(np.unique(deep)) > 2 * len(np.unique(plain))


def test_text_and_times_are_computed_once_a_shot_and_a_source_once_a_window(
    editor: SamaEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, asked = editor.pipeline.transformer, []
    for name in ("text_of", "times_of", "clip_of"):
        made = getattr(network, name)
        monkeypatch.setattr(network, name, lambda *given, name=name, made=made: asked.append(name) or made(*given))
    editor.edit_together(requests(clip(37), *THREE), unused_progress, Kept())
    assert sorted(asked) == ["clip_of"] * 3 + ["text_of", "times_of"]


def test_the_editor_says_that_it_can(editor: SamaEditor) -> None:
    assert isinstance(editor, ShotEditor)
