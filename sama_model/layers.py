"""Small layers that diffusers' Wan modules do not have in the form that SAMA's weights were trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TimestepSinusoid(nn.Module):
    """[cos | sin] of a timestep, computed in float64 (models.md 1.1 step G.1).

    diffusers' own computes in float32: at timestep 1000 that costs four digits of the highest frequencies.

    Shapes: timestep (B,) -> (B, dim) float32.
    """

    def __init__(self, dim: int, theta: float = 10000.0) -> None:
        super().__init__()
        self.frequencies = dim // 2
        self.theta = theta

    def forward(self, timestep: Tensor) -> Tensor:
        exponents = torch.arange(self.frequencies, dtype=torch.float64, device=timestep.device) / self.frequencies
        angles = timestep.to(torch.float64)[:, None] * self.theta**-exponents
        return torch.cat([angles.cos(), angles.sin()], dim=-1).to(torch.float32)
