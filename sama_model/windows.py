"""One shot in several windows, denoised together: after each step they agree wherever they overlap.

Windows and the shot are counted in latent frames. A window's first latent holds one frame, where its neighbour has one
of four at that place: it is the window's own and never averaged. Every other latent that several windows hold becomes
their ramp-weighted mean after each step (MultiDiffusion, Bar-Tal et al. 2023, in time; Gen-L-Video, Wang et al. 2023).
Semantic tokens are each window's own, from the same first draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sama_model.config import Recipe
from sama_model.guidance import Conditions, Network, guided_velocity
from sama_model.reuse import Memory, Reuse, legal
from sama_model.sampling import euler_step, guided_steps
from sama_model.schedule import as_model_sees, flow_schedule
from sama_model.tokens import Joint

if TYPE_CHECKING:
    from sama_model.pipeline import SamaPipeline


@dataclass(frozen=True)
class Window:
    """Latent frames `[first, end)` of the shot."""

    first: int
    end: int


@dataclass(frozen=True)
class Progressed:
    """Where a run is: what is needed to go on from there."""

    step: int
    """Steps done."""
    states: tuple[Joint, ...]
    """One a window."""


def denoise_together(
    network: Network,
    start: Progressed,
    conditions: Sequence[Conditions],
    windows: Sequence[Window],
    recipe: Recipe,
    on_step: Callable[[Progressed], None],
    reuse: Reuse = Reuse(),  # noqa: B008 - frozen
) -> tuple[Joint, ...]:
    """The windows' latents, from `start` on. `on_step` is called after each step; what it raises ends the loop.

    With one window it is `sampling.denoise` without a step cache, bit for bit.

    Raises:
        ValueError: no windows, windows that leave a gap, a step cache, or a recipe that makes no schedule.
    """
    _check(windows, recipe)
    schedule = flow_schedule(recipe.steps, recipe.shift)
    told = as_model_sees(schedule.timesteps, network.dtype)
    guided = guided_steps(recipe)
    first = Memory(reuse, told)
    memories = [first, *(first.of_another_clip() for _ in windows[1:])]
    states = start.states
    for i in range(start.step, schedule.steps):
        scale = recipe.guidance if i < guided else 1.0
        moved = []
        for state, condition, memory in zip(states, conditions, memories, strict=True):
            velocity = guided_velocity(network, state, condition, told[i : i + 1], scale, memory)
            moved.append(euler_step(state, velocity, schedule.sigmas[i], schedule.sigmas[i + 1]))
        states = agreed(moved, windows)
        on_step(Progressed(i + 1, states))
    return states


def _check(windows: Sequence[Window], recipe: Recipe) -> None:
    if recipe.step_cache > 0:
        raise ValueError("windows that are denoised together take no step cache: their states change between steps")
    if not windows or windows[0].first != 0:
        raise ValueError("the first window of a shot begins with its first latent frame")
    for earlier, later in pairwise(windows):
        if not earlier.first < later.first < earlier.end - 1:
            raise ValueError(f"windows {earlier} and {later} share no latent beside the later one's first")


# -- agreement --------------------------------------------------------------------------------------------------------


def agreed(states: Sequence[Joint], windows: Sequence[Window]) -> tuple[Joint, ...]:
    """The states after shared latents became their weighted mean; what one window alone holds is not touched."""
    if len(windows) == 1:
        return tuple(states)
    videos = [state.video.clone() for state in states]
    for place in range(windows[-1].end):
        sharing = [n for n, window in enumerate(windows) if _shares(window, place)]
        if len(sharing) < 2:
            continue
        weights = [weight(windows, n, place) for n in sharing]
        total = sum(
            states[n].video[:, :, place - windows[n].first].float() * share
            for n, share in zip(sharing, weights, strict=True)
        )
        mean = torch.as_tensor(total) / sum(weights)
        for n in sharing:
            videos[n][:, :, place - windows[n].first] = mean.to(videos[n].dtype)
    return tuple(Joint(video, state.semantic) for video, state in zip(videos, states, strict=True))


def _shares(window: Window, place: int) -> bool:
    """Whether the window has a say in that latent of the shot: it holds it, and not as its own first one."""
    return window.first < place < window.end or place == window.first == 0


def weight(windows: Sequence[Window], n: int, place: int) -> float:
    """Window `n`'s weight at a latent that it shares: a linear ramp over each overlap, 1 between them."""
    window = windows[n]
    up = down = 1.0
    if n > 0:
        overlap = windows[n - 1].end - window.first
        up = min(1.0, (place - window.first) / overlap)
    if n + 1 < len(windows):
        overlap = window.end - windows[n + 1].first
        down = min(1.0, (window.end - place) / overlap)
    return up * down


def whole(states: Sequence[Joint], windows: Sequence[Window]) -> Tensor:
    """(1, C, t, h, w) of the shot: each latent from a window that has a say in it."""
    frames = []
    for place in range(windows[-1].end):
        n = next(n for n, window in enumerate(windows) if _shares(window, place))
        frames.append(states[n].video[:, :, place - windows[n].first])
    return torch.stack(frames, dim=2)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def packed(progressed: Progressed) -> dict[str, Tensor]:
    """A run as named tensors, to be kept."""
    tensors = {"step": torch.tensor(progressed.step)}
    for n, state in enumerate(progressed.states):
        tensors |= {f"{n}.video": state.video.contiguous(), f"{n}.semantic": state.semantic.contiguous()}
    return tensors


def unpacked(tensors: dict[str, Tensor], start: Progressed) -> Progressed | None:
    """A run from what was kept, on the device of `start`; None if that is of another shape or dtype than this one."""
    if set(tensors) != set(packed(start)):
        return None
    states = []
    for n, state in enumerate(start.states):
        video, semantic = tensors[f"{n}.video"], tensors[f"{n}.semantic"]
        if (video.shape, video.dtype) != (state.video.shape, state.video.dtype):
            return None
        states.append(Joint(video.to(state.video.device), semantic.to(state.semantic.device)))
    return Progressed(int(tensors["step"]), tuple(states))


# -- the whole way ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def edit_windows(
    pipeline: SamaPipeline,
    clips: Sequence[npt.NDArray[np.uint8]],
    contexts: Tensor,
    noises: Sequence[Joint],
    windows: Sequence[Window],
    recipe: Recipe,
    kept: dict[str, Tensor] | None,
    on_step: Callable[[Progressed], None],
) -> Tensor:
    """One shot from its windows' clips: each encoded on its own, denoised together, decoded as one video.

    Args: clips (T, H, W, 3) each; `contexts` (2, 512, d); `kept` what `packed` made of an earlier run, to go on from.

    Returns:
        (1, 3, T, H, W) in [-1, 1].

    Raises:
        ValueError: as `denoise_together`, or a cache inside the network.
    """
    if pipeline.transformer.is_cache_enabled:
        raise ValueError("windows that are denoised together take no block cache: switch it off")
    conditions = [Conditions(*pipeline.placed(pipeline.encode(clip), contexts)) for clip in clips]
    start = Progressed(0, tuple(Joint(*pipeline.placed(noise.video, noise.semantic)) for noise in noises))
    begun = (unpacked(kept, start) if kept else None) or start
    states = denoise_together(pipeline.network(), begun, conditions, windows, recipe, on_step, legal(pipeline.modes()))
    video = pipeline.decode(whole(states, windows))
    pipeline.maybe_free_model_hooks()
    return video
