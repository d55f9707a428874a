"""From noise to the edit: the noise, and the Euler loop that integrates the video's and the semantic velocity together.

x <- x + v * (sigma_next - sigma)        the same sigmas for video latents and semantic tokens
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sama_model.config import SEMANTIC_TOKENS, Recipe
from sama_model.guidance import Conditions, Network, guided_velocity
from sama_model.reuse import Memory, Reuse
from sama_model.schedule import as_model_sees, flow_schedule
from sama_model.stepcache import StepCache
from sama_model.tokens import Joint

VIDEO_STREAM, SEMANTIC_STREAM = 0, 1
"""First word of a noise stream's seed, so that video and semantic noise never share numbers."""


def denoise(
    network: Network,
    noise: Joint,
    conditions: Conditions,
    recipe: Recipe,
    on_step: Callable[[int, Joint], Joint | None],
    reuse: Reuse = Reuse(),  # noqa: B008 - frozen
) -> Joint:
    """The edit's latents from `noise`.

    `on_step(i, state)` is called after step i; a state that it returns takes the place of the one it was given, and
    what it raises ends the loop.

    Raises:
        ValueError: steps or a shift that make no schedule, or a share of guided steps outside 0..1.
    """
    schedule = flow_schedule(recipe.steps, recipe.shift)
    told = as_model_sees(schedule.timesteps, network.dtype)
    guided = guided_steps(recipe)
    memory, cache = Memory(reuse, told), StepCache(recipe.step_cache, schedule.steps)
    state = noise
    for i in range(schedule.steps):
        if i == guided:
            cache.forget()
        velocity = cache.recall(i, state)
        if velocity is None:
            scale = recipe.guidance if i < guided else 1.0
            velocity = guided_velocity(network, state, conditions, told[i : i + 1], scale, memory)
            cache.keep(state, velocity)
        state = euler_step(state, velocity, schedule.sigmas[i], schedule.sigmas[i + 1])
        state = on_step(i, state) or state
    return state


def guided_steps(recipe: Recipe) -> int:
    """How many steps, from the first on, are guided.

    Raises:
        ValueError: a share outside 0..1.
    """
    if not 0 <= recipe.guided <= 1:
        raise ValueError(f"the share of guided steps is between 0 and 1, not {recipe.guided}")
    return round(recipe.guided * recipe.steps) if recipe.guidance != 1 else 0


def euler_step(state: Joint, velocity: Joint, sigma: Tensor, sigma_next: Tensor) -> Joint:
    """One step of both; the sigmas are the unrounded ones."""
    span = (sigma_next - sigma).item()
    return Joint(video=state.video + velocity.video * span, semantic=state.semantic + velocity.semantic * span)


# -- noise ------------------------------------------------------------------------------------------------------------


def generator_noise(shape: tuple[int, ...], semantic_dim: int, generator: torch.Generator) -> Joint:
    """Noise as the official code draws it: one normal draw of the whole (1, C, t, h, w), on the CPU, in float32.

    The official semantic noise follows no seed; here a second generator of the same seed draws it.
    """
    video = torch.randn(shape, generator=generator, dtype=torch.float32)
    second = torch.Generator().manual_seed(generator.initial_seed())
    return Joint(video, torch.randn((1, SEMANTIC_TOKENS, semantic_dim), generator=second, dtype=torch.float32))


def shot_noise(shape: tuple[int, ...], semantic_dim: int, seed: int, first_latent: int) -> Joint:
    """Noise of a chunk, so drawn that overlapping chunks of one shot agree: each latent frame has its own stream.

    Args: shape (1, C, t, h, w); `first_latent` is the absolute index, within the shot, of latent frame 0.

    Raises:
        ValueError: a negative seed or index.
    """
    if seed < 0 or first_latent < 0:
        raise ValueError(f"seed and first latent must not be negative, not {seed} and {first_latent}")
    _, channels, frames, height, width = shape
    latents = [normal((channels, height, width), VIDEO_STREAM, seed, first_latent + k) for k in range(frames)]
    semantic = normal((1, SEMANTIC_TOKENS, semantic_dim), SEMANTIC_STREAM, seed)
    return Joint(video=torch.stack(latents, dim=1)[None], semantic=semantic)


def normal(shape: tuple[int, ...], *stream: int) -> Tensor:
    """Standard normal float32 numbers of a stream; numpy's generator gives the same bits on every CPU."""
    return torch.from_numpy(np.random.default_rng(list(stream)).standard_normal(shape, dtype=np.float32))
