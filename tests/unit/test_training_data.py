"""Pretext tasks, examples and losses: as models.md has them, and a bad example is named instead of replaced."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from sama_model.schedule import flow_schedule
from sama_model.tokens import Joint
from sama_model.training.batches import Batches
from sama_model.training.data import Example, Share, checked, gathered
from sama_model.training.losses import SemanticTarget, changed, losses, noised, shifted_sigmas
from sama_model.training.pretext import (
    PRETEXTS,
    cube_inpainting,
    cut,
    drawn_pretext,
    speed_perturbation,
    told,
    tube_shuffle,
)
from sama_model.training.settings import TrainingSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.stage_zero import StageZero
from sama_model.training.tokenizer import learned
from sama_model.training.world.rules import SMALL_WORLD, WORLD
from sama_model.training.world.samples import planned
from sama_model.training.world.splits import Split


def numbered(frames: int = 17, height: int = 6, width: int = 8) -> np.ndarray:
    """Every pixel its own value, as far as bytes go."""
    return np.random.default_rng(0).integers(1, 255, (frames, height, width, 3), dtype=np.uint8)


def test_a_cube_hides_one_run_of_frames_and_never_the_first() -> None:
    clip, starts = numbered(), set()
    for seed in range(200):
        painted = cube_inpainting(clip, np.random.default_rng(seed))
        hidden = np.flatnonzero((painted == 0).all(axis=(1, 2, 3)))
        assert len(hidden) == 5  # round(0.3 * 17)
        assert np.array_equal(hidden, np.arange(hidden[0], hidden[0] + 5))
        starts.add(int(hidden[0]))
        shown = np.setdiff1d(np.arange(17), hidden)
        assert np.array_equal(painted[shown], clip[shown])
    assert starts == set(range(1, 13))


def test_twice_the_speed_keeps_the_length() -> None:
    clip = numbered()
    fast = speed_perturbation(clip, np.random.default_rng(0))
    assert np.array_equal(fast, clip[[0, 2, 4, 6, 8, 10, 12, 14, 16, 16, 16, 16, 16, 16, 16, 16, 16]])


def test_shuffled_tubes_stay_whole_and_lose_nothing() -> None:
    clip = numbered()
    whole = Counter(map(bytes, clip.reshape(-1, 3)))
    moved = 0
    for seed in range(20):
        shuffled = tube_shuffle(clip, np.random.default_rng(seed))
        assert Counter(map(bytes, shuffled.reshape(-1, 3))) == whole
        blocks = [clip[t, y, x] for t in cut(17, 2) for y in cut(6, 2) for x in cut(8, 2)]
        for place in (np.s_[:9, :3, :4], np.s_[9:, 3:, 4:]):
            assert sum(np.array_equal(shuffled[place], block) for block in blocks) == 1
        moved += not np.array_equal(shuffled, clip)
    assert moved > 15


def test_parts_differ_by_at_most_one_and_a_clip_with_fewer_frames_is_left_alone() -> None:
    assert [(part.start, part.stop) for part in cut(17, 4)] == [(0, 5), (5, 9), (9, 13), (13, 17)]
    still = numbered(frames=1)
    assert tube_shuffle(still, np.random.default_rng(0)) is still
    assert cube_inpainting(still, np.random.default_rng(0)) is still


def test_pretexts_are_drawn_one_to_two_to_three_to_four() -> None:
    rng = np.random.default_rng(1)
    counts = Counter(drawn_pretext(rng).name for _ in range(10_000))
    assert [round(counts[pretext.name] / 1000) for pretext in PRETEXTS] == [1, 2, 3, 4]
    assert told(PRETEXTS[0], "a red star") == "a red star"
    assert told(PRETEXTS[2], "a red star") == "[Restore the video to normal playback speed.] a red star"


def test_stage_zero_perturbs_the_source_alone_and_makes_steps_of_one_length() -> None:
    zero = StageZero(seed=1, batch=2)
    kinds, lengths = set(), set()
    for step in range(16):
        examples = [zero.example(step * 2 + i) for i in range(2)]
        (length,) = {len(example.source) for example in examples}
        lengths.add(length)
        for example in examples:
            if length > 1:
                kinds.add(example.kind)
                assert np.array_equal(example.source, example.target) == (example.kind == "none")
    assert lengths == {1, WORLD.frames}
    assert {"cube", "speed", "shuffle"} <= kinds


def test_an_example_follows_from_its_number_alone() -> None:
    for examples in (StageZero(seed=3, batch=2), StageOne(seed=3)):
        one, again = examples.example(7), examples.example(7)
        assert one.text == again.text
        assert np.array_equal(one.source, again.source)
    assert StageOne(seed=3).example(7).text == planned(3, 7, Split.TRAIN).instruction


class SomeBad:
    """Every third example is damaged, in one of three ways."""

    def example(self, number: int) -> Example:
        clip = np.zeros((5, 8, 8, 3), dtype=np.uint8)
        good = Example(f"clip {number}", clip, clip, "remove the star", "remove")
        damaged = (
            replace(good, source=clip[:4]),
            replace(good, text=" "),
            replace(good, source=clip[:4], target=clip[:4]),
        )
        return damaged[number // 3 % 3] if number % 3 == 0 else good


def test_a_bad_example_is_left_out_counted_and_named() -> None:
    step = gathered(SomeBad(), range(7))
    assert [example.name for example in step.good] == ["clip 1", "clip 2", "clip 4", "clip 5"]
    assert [bad.number for bad in step.bad] == [0, 3, 6]
    assert "clip 0: source and target differ in shape" in step.bad[0].reason
    assert step.bad[1].reason == "clip 3: no instruction"
    assert step.bad[2].reason == "clip 6: 4 frames are not 4k+1"
    nothing = gathered(SomeBad(), (0, 3))
    assert (nothing.good, [bad.number for bad in nothing.bad]) == ((), [0, 3])


def test_the_shares_of_a_step_are_the_step() -> None:
    whole = gathered(SomeBad(), range(7))
    shares = [gathered(SomeBad(), range(7), Share(index, 2)) for index in range(2)]
    assert sorted(place for share in shares for place in share.places) == list(whole.places)
    assert sum(share.count for share in shares) == whole.count == 4
    assert {bad for share in shares for bad in share.bad} == set(whole.bad)


def test_of_a_share_without_a_good_example_another_keeps_step() -> None:
    step = gathered(SomeBad(), (0, 1, 3, 2), Share(0, 2))
    assert [example.name for example in step.good] == ["clip 1"]
    assert (step.count, step.places, [bad.number for bad in step.bad]) == (0, (1,), [0, 3])
    nothing = gathered(SomeBad(), (0, 3, 6), Share(1, 2))
    assert (nothing.good, [bad.number for bad in nothing.bad]) == ((), [3])


def test_what_is_drawn_for_a_place_does_not_depend_on_who_draws_it() -> None:
    settings = TrainingSettings(1, batch=5, text_dropout=0.5)
    tokenizer = learned(SMALL_WORLD, 1, 300)
    whole = Batches(StageOne(3, "small"), settings, tokenizer)(2).content
    latents = torch.zeros(5, 2, 3)
    for index in range(2):
        share = Batches(StageOne(3, "small"), settings, tokenizer).sharing(Share(index, 2))(2)
        mine, places = share.content, list(range(index, 5, 2))
        assert share.count == len(places)
        tokens = ((mine.prompts.ids, whole.prompts.ids), (mine.prompts.mask, whole.prompts.mask))
        pictures = ((mine.source, whole.source), (mine.anchors, whole.anchors))
        for one, all_of in (*tokens, *pictures, (mine.u, whole.u)):
            assert torch.equal(one, all_of[places])
        (noise,), (all_noise,) = mine.noise.like(latents[places]), whole.noise.like(latents)
        assert torch.equal(noise, all_noise[places])


def test_a_good_example_passes_as_it_is() -> None:
    example = SomeBad().example(1)
    assert checked(example) is example


def joint(seed: int) -> Joint:
    generator = torch.Generator().manual_seed(seed)
    return Joint(torch.randn(2, 4, 3, 2, 2, generator=generator), torch.randn(2, 65, 8, generator=generator))


def test_noise_levels_are_shifted_as_inference_shifts_them() -> None:
    schedule = flow_schedule(10, 5.0)
    u = torch.linspace(1, 0, 11)
    assert torch.allclose(shifted_sigmas(u, 5.0), schedule.sigmas)


def test_the_velocity_leads_from_any_noise_level_to_the_data() -> None:
    data, noise, sigmas = joint(0), joint(1), torch.tensor([0.3, 0.9])
    at = noised(data, noise, sigmas)
    for x, clean, pure in ((at.video, data.video, noise.video), (at.semantic, data.semantic, noise.semantic)):
        level = sigmas.view(-1, *[1] * (x.dim() - 1))
        assert torch.allclose(x - level * (pure - clean), clean, atol=1e-5)


@pytest.mark.parametrize("target", SemanticTarget)
def test_a_network_that_is_right_has_no_loss_and_the_semantic_one_weighs_a_tenth(target: SemanticTarget) -> None:
    data, noise = joint(0), joint(1)
    semantic = data.semantic if target is SemanticTarget.CLEAN else noise.semantic - data.semantic
    right = Joint(noise.video - data.video, semantic)
    assert losses(right, data, noise, target).total == 0
    off = losses(Joint(right.video + 2, semantic + 3), data, noise, target)
    assert off.flow.item() == pytest.approx(4, rel=1e-5)
    assert off.semantic.item() == pytest.approx(3, rel=1e-5)
    assert off.total.item() == pytest.approx(4.3, rel=1e-5)


def test_half_of_the_flow_loss_stands_where_the_edit_changes_the_clip_however_small_that_is() -> None:
    source = torch.zeros(2, 3, 2, 4, 4)
    target = source.clone()
    target[0, :, 1, 2, 3] = 5.0  # one place of 32; the second clip is left as it is
    places = changed(source, target, 0.5)
    assert places.shape == (2, 1, 2, 4, 4)
    assert places[0, 0, 1, 2, 3] == 0.5 + 0.5 * 32
    assert (places[1] == 1).all()
    torch.testing.assert_close(places.mean(dim=(1, 2, 3, 4)), torch.ones(2))
    assert (places[0] == 0.5).sum() == 31
    semantic = torch.zeros(2, 65, 4)
    data, noise = Joint(target, semantic), Joint(torch.zeros_like(target), semantic)
    right = -target
    there, elsewhere = right.clone(), right.clone()
    there[0, :, 1, 2, 3] += 1
    elsewhere[0, :, 0, 0, 0] += 1
    near, far = (
        losses(Joint(v, semantic), data, noise, SemanticTarget.VELOCITY, 0.1, places) for v in (there, elsewhere)
    )
    assert near.flow == far.flow == pytest.approx(1 / 64)
    assert near.total == pytest.approx(16.5 / 64)
    assert far.total == pytest.approx(0.5 / 64)
