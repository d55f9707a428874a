"""The sequence that the transformer sees: [source | semantic | target], its types and its positions.

    latents (B, C, t, h, w) <-> patches (B, t*h/2*w/2, C*1*2*2)          one token covers a patch of (1, 2, 2) latents

Source and target patches share one set of positions; only the type embedding tells them apart. Semantic tokens have
no position at all: their rows of the rotary table are zero (cos = 0 and sin = 0), so that their queries and keys vanish
in self-attention. That is how the released weights were trained; the identity rotation (cos = 1) would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CONDITION, SEMANTIC, TARGET = 0, 1, 2
"""Rows of the type embedding (models.md 1.1 step G.4)."""

Rotary = tuple[Tensor, Tensor]
"""cos and sin, each (1, tokens, 1, head_dim), as diffusers' Wan attention takes them."""


@dataclass(frozen=True)
class Joint:
    """What is integrated together, or the velocity of it."""

    video: Tensor
    """(B, C, t, h, w) latents."""
    semantic: Tensor
    """(B, 65, 1152) semantic tokens."""

    def row(self, i: int) -> Joint:
        """One of the batch, which stays a batch of one."""
        return Joint(self.video[i : i + 1], self.semantic[i : i + 1])


@dataclass(frozen=True)
class TokenLayout:
    """How many tokens of each kind the sequence has, in their order."""

    source: int
    semantic: int
    target: int

    @property
    def semantic_rows(self) -> slice:
        """Counted from the end, so that it holds where the source was left out."""
        return slice(-self.target - self.semantic, -self.target)

    @property
    def target_rows(self) -> slice:
        """The last rows of the sequence."""
        return slice(-self.target, None)


def joint_rotary(grid: Rotary, semantic: int) -> Rotary:
    """The rotary table of the whole sequence from the table of one clip's patch grid."""
    cos, sin = (torch.cat([t, t.new_zeros(1, semantic, 1, t.shape[-1]), t], dim=1) for t in grid)
    return cos, sin


def unpatchify(patches: Tensor, grid: tuple[int, int, int], patch: tuple[int, int, int]) -> Tensor:
    """(B, tokens, C*p) patches, channel last, back to (B, C, t, h, w) latents."""
    x = patches.reshape(patches.shape[0], *grid, *patch, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)  # B C f pf h ph w pw
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)
