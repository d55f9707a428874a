"""An image encoder for tests: mean colours of an 8x8 grid and of the whole, as many numbers each as are asked."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


class PooledColours:
    """64 local tokens and a global one of each frame."""

    def __init__(self, width: int) -> None:
        self.spread = torch.from_numpy(np.random.default_rng(0).standard_normal((3, width), dtype=np.float32))

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, N, H, W, 3) -> (B, N * 65, width)."""
        batch, count = frames.shape[:2]
        pictures = frames.float().flatten(0, 1).permute(0, 3, 1, 2) / 127.5 - 1
        grids = [adaptive_avg_pool2d(pictures, side).flatten(2) for side in (8, 1)]
        colours = torch.cat(grids, dim=2).transpose(1, 2)
        return (colours @ self.spread).reshape(batch, count * 65, -1)

    def to(self, device: torch.device) -> None:
        self.spread = self.spread.to(device)
