"""When the sampler is where: sigmas of the shifted flow-matching schedule, and the timesteps that the network is told.

sigma = 1 is pure noise, sigma = 0 is data. u = 1, (n-1)/n, ..., 1/n; sigma = shift*u / (1 + (shift-1)*u), once; then 0
(models.md 1.1 step I). Wan's own UniPC grid starts at 0.9998 and is not this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True)
class Schedule:
    """One run's steps."""

    sigmas: Tensor
    """(steps + 1,) float32, from exactly 1 down to exactly 0: what the Euler step uses."""
    timesteps: Tensor
    """(steps,) float32, 1000 * sigma, not rounded."""

    @property
    def steps(self) -> int:
        return len(self.timesteps)


def flow_schedule(steps: int, shift: float) -> Schedule:
    """The schedule of `steps` Euler steps.

    Raises:
        ValueError: no step, or a shift that is not positive.
    """
    if steps < 1 or shift <= 0:
        raise ValueError(f"a schedule needs at least 1 step and a positive shift, not steps={steps}, shift={shift}")
    u = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float32)[:-1]
    sigmas = shift * u / (1 + (shift - 1) * u)
    return Schedule(sigmas=torch.cat([sigmas, sigmas.new_zeros(1)]), timesteps=sigmas * TRAIN_TIMESTEPS)


def as_model_sees(timesteps: Tensor, dtype: torch.dtype) -> Tensor:
    """Timesteps as a network of `dtype` is told them: rounded to it, then float32 again.

    Official inference runs in bfloat16, so the released weights only ever saw 1000, 996, 992, 988, ... (models.md 1.1
    step I); the Euler step keeps the unrounded sigmas. In float32, as in the recordings, nothing is rounded.
    """
    return timesteps.to(dtype).to(torch.float32)
