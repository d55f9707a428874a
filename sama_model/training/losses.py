"""What training minimises: flow matching of the video's latents, and beside it of the anchors' semantic tokens.

x_sigma = (1 - sigma) * data + sigma * noise        v = noise - data        sigma = 1 is pure noise, as in the sampler
L = mean |v_hat - v|^2 + 0.1 * mean |m_hat - m|      (models.md 1.2; the semantic loss is L1, its weight lambda = 0.1)

Both are noised with one sigma a sample. sigma is u, uniform in (0, 1), shifted as inference shifts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from sama_model.tokens import Joint


class SemanticTarget(StrEnum):
    """What the semantic head is to say: the paper says the clean tokens, the released code integrates a velocity."""

    VELOCITY = "velocity"
    CLEAN = "clean"
    """Weights trained so are not what the sampler expects: it integrates what the head says."""


@dataclass(frozen=True)
class Losses:
    """Of one batch, scalars."""

    flow: Tensor
    semantic: Tensor
    total: Tensor


def shifted_sigmas(u: Tensor, shift: float) -> Tensor:
    """(B,) in 0..1 to noise levels, by the formula of `schedule.flow_schedule`."""
    return shift * u / (1 + (shift - 1) * u)


def noised(data: Joint, noise: Joint, sigmas: Tensor) -> Joint:
    """Both parts at their sample's noise level; sigmas (B,)."""
    return Joint(mixed(data.video, noise.video, sigmas), mixed(data.semantic, noise.semantic, sigmas))


def mixed(data: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """(B, ...) data and noise, (B,) sigmas."""
    level = sigmas.view(-1, *[1] * (data.dim() - 1)).to(data)
    return (1 - level) * data + level * noise


def changed(source: Tensor, target: Tensor, share: float) -> Tensor:
    """(B, C, T, H, W) latents to the weights (B, 1, T, H, W) of the places in the flow loss: a sample's mean is 1.

    1 - share is spread evenly, `share` by how much the edit changes a place: without it a small thing that is asked for
    counts as little as it is small, and copying the rest is all that is learned at first. A choice of this project.
    """
    apart = (target - source).float().norm(dim=1, keepdim=True)
    mean = apart.mean(dim=(1, 2, 3, 4), keepdim=True)
    return 1 - share + share * torch.where(mean > 0, apart / mean.clamp_min(1e-6), 1.0)


def losses(
    said: Joint, data: Joint, noise: Joint, target: SemanticTarget, weight: float = 0.1, places: Tensor | None = None
) -> Losses:
    """What the network said at `noised(data, noise, sigmas)`, against what it should have said; in float32.

    `places` (B, 1, T, H, W) weigh the flow's in the total; none: all alike.
    """
    velocity = (noise.video - data.video).float()
    flow = torch.nn.functional.mse_loss(said.video.float(), velocity)
    wanted = data.semantic if target is SemanticTarget.CLEAN else noise.semantic - data.semantic
    semantic = torch.nn.functional.l1_loss(said.semantic.float(), wanted.float())
    weighed = flow if places is None else (places * torch.square(said.video.float() - velocity)).mean()
    return Losses(flow, semantic, weighed + weight * semantic)
