"""Noise, guidance and the Euler loop, with a network that only keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sama_model.config import Recipe
from sama_model.guidance import Conditions, guide
from sama_model.reuse import Memory
from sama_model.sampling import denoise, euler_step, generator_noise, shot_noise
from sama_model.tokens import Joint

SHAPE = (1, 16, 5, 4, 6)
CONDITIONS = Conditions(source=torch.full(SHAPE, 7.0), contexts=torch.stack([torch.ones(2, 3), torch.zeros(2, 3)]))


class Recorder:
    """A network whose velocity is the mean of its context, and which keeps every call."""

    dtype = torch.bfloat16

    def __init__(self) -> None:
        self.timesteps: list[float] = []
        self.sources: list[Tensor] = []
        self.contexts: list[list[float]] = []

    def __call__(
        self,
        hidden_states: Tensor,
        source_states: Tensor,
        semantic_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        memory: Memory,
    ) -> Joint:
        self.timesteps.append(timestep.item())
        self.sources.append(source_states)
        values = encoder_hidden_states.mean(dim=(1, 2))
        self.contexts.append(values.tolist())
        video = torch.ones_like(hidden_states) * values[:, None, None, None, None]
        return Joint(video, torch.ones_like(semantic_states) * values[:, None, None])


def still(step: int, state: Joint) -> None:
    """Nobody watches."""


def run(network: Recorder, guidance: float, on_step: Callable[[int, Joint], None] = still) -> Joint:
    noise = shot_noise(SHAPE, 8, seed=0, first_latent=0)
    return denoise(network, noise, CONDITIONS, Recipe(4, guidance, 5.0), on_step)


def test_the_source_is_there_in_both_branches() -> None:
    network = Recorder()
    run(network, guidance=5.0)
    assert network.contexts == [[1.0, 0.0]] * 4
    assert all(torch.equal(source, CONDITIONS.source) for source in network.sources)


def test_the_network_is_told_rounded_timesteps_of_its_dtype() -> None:
    network = Recorder()
    run(network, guidance=1.0)
    assert network.timesteps == [1000.0, 936.0, 832.0, 624.0]


def test_at_scale_one_the_negative_branch_is_not_computed() -> None:
    network = Recorder()
    run(network, guidance=1.0)
    assert network.contexts == [[1.0]] * 4


def test_video_and_semantic_tokens_are_integrated_over_the_same_sigmas() -> None:
    """A constant velocity v over sigma from 1 to 0 moves both by -v; guidance makes it 0 + 5 * (1 - 0)."""
    noise = shot_noise(SHAPE, 8, seed=0, first_latent=0)
    edit = run(Recorder(), guidance=5.0)
    torch.testing.assert_close(edit.video, noise.video - 5, rtol=0, atol=1e-5)
    torch.testing.assert_close(edit.semantic, noise.semantic - 5, rtol=0, atol=1e-5)


def test_guidance_starts_from_the_negative_branch() -> None:
    positive, negative = Joint(torch.tensor(3.0), torch.tensor(1.0)), Joint(torch.tensor(2.0), torch.tensor(4.0))
    guided = guide(positive, negative, 5.0)
    assert (guided.video.item(), guided.semantic.item()) == (7.0, -11.0)


def test_an_euler_step_goes_down_in_sigma() -> None:
    state = Joint(torch.tensor(1.0), torch.tensor(0.0))
    after = euler_step(state, Joint(torch.tensor(2.0), torch.tensor(1.0)), torch.tensor(1.0), torch.tensor(0.75))
    assert (after.video.item(), after.semantic.item()) == (0.5, -0.25)


def test_what_a_watcher_raises_ends_the_loop() -> None:
    network = Recorder()

    def stop(step: int, state: Joint) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        run(network, guidance=1.0, on_step=stop)
    assert len(network.timesteps) == 1


# -- noise ------------------------------------------------------------------------------------------------------------


def test_overlapping_chunks_of_a_shot_start_from_the_same_noise() -> None:
    first = shot_noise(SHAPE, 8, seed=7, first_latent=0)
    later = shot_noise(SHAPE, 8, seed=7, first_latent=3)
    assert torch.equal(first.video[:, :, 3:], later.video[:, :, :2])
    assert torch.equal(first.semantic, later.semantic)


def test_every_latent_frame_and_seed_has_noise_of_its_own() -> None:
    frames = shot_noise(SHAPE, 8, seed=7, first_latent=0).video[0].unbind(dim=1)
    other = shot_noise(SHAPE, 8, seed=8, first_latent=0)
    assert all(not torch.equal(frames[0], frame) for frame in frames[1:])
    assert not torch.equal(other.video[0, :, 0], frames[0])
    assert not torch.equal(other.semantic, shot_noise(SHAPE, 8, seed=7, first_latent=0).semantic)


def test_noise_is_standard_normal_and_recorded() -> None:
    noise = shot_noise((1, 16, 5, 24, 40), 1152, seed=0, first_latent=0)
    assert abs(noise.video.mean()) < 0.01
    assert abs(noise.video.std() - 1) < 0.01
    recorded = torch.tensor([1.117622, -1.3871249, -0.4265716])
    torch.testing.assert_close(noise.video[0, 0, 0, 0, :3], recorded, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("seed", "first_latent"), [(-1, 0), (0, -1)])
def test_negative_seeds_and_places_are_refused(seed: int, first_latent: int) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        shot_noise(SHAPE, 8, seed, first_latent)


def test_a_generator_draws_as_the_official_code_does() -> None:
    """One draw of the whole shape on the CPU in float32; the semantic noise does not disturb it."""
    generator = torch.Generator().manual_seed(18)
    noise = generator_noise(SHAPE, 8, generator)
    assert torch.equal(noise.video, torch.randn(SHAPE, generator=torch.Generator().manual_seed(18)))
    assert torch.equal(noise.semantic, generator_noise(SHAPE, 8, torch.Generator().manual_seed(18)).semantic)
