"""The official scheme of overlapping VAE tiles (models.md 1.1 step J): less memory, not the same result.

latents (1, C, t, h, w); a tile is (30, 52) latents, the next begins (15, 26) further; f pixels lie along a latent
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TILE, STRIDE = (30, 52), (15, 26)


@dataclass(frozen=True)
class Tile:
    """One tile in latents; ends may lie beyond the picture's."""

    top: int
    left: int


def tiles(height: int, width: int) -> Iterator[Tile]:
    """In rows; a start is skipped where the tile before it reaches the edge already."""
    for top in starts(height, TILE[0], STRIDE[0]):
        for left in starts(width, TILE[1], STRIDE[1]):
            yield Tile(top, left)


def starts(length: int, tile: int, stride: int) -> list[int]:
    """Where tiles begin along one side."""
    return [start for start in range(0, length, stride) if start == 0 or start - stride + tile < length]


def tiled(work: Callable[[Tensor], Tensor], x: Tensor, read: int, written: int) -> Tensor:
    """`work` on each tile of x (1, C, T, H, W), blended by ramps; accumulated on the CPU as the official code does.

    `read` and `written` are units of x and of the result along one latent: (f, 1) to encode, (1, f) to decode.
    """
    height, width = x.shape[3] // read, x.shape[4] // read
    total = weights = torch.zeros(())
    for tile in tiles(height, width):
        bottom, right = min(tile.top + TILE[0], height), min(tile.left + TILE[1], width)
        part = work(x[..., tile.top * read : bottom * read, tile.left * read : right * read]).cpu()
        if total.ndim == 0:
            total = part.new_zeros(*part.shape[:3], height * written, width * written)
            weights = part.new_zeros(1, 1, 1, height * written, width * written)
        mask = blend_mask(tile, bottom, right, (height, width), written).to(part)
        area = (..., slice(tile.top * written, bottom * written), slice(tile.left * written, right * written))
        total[area] += part * mask
        weights[area] += mask
    return total / weights


def blend_mask(tile: Tile, bottom: int, right: int, size: tuple[int, int], unit: int) -> Tensor:
    """(h, w) of one tile's result: ramps towards its neighbours, the smaller of the two directions."""
    down = ramp((bottom - tile.top) * unit, (TILE[0] - STRIDE[0]) * unit, tile.top == 0, bottom == size[0])
    across = ramp((right - tile.left) * unit, (TILE[1] - STRIDE[1]) * unit, tile.left == 0, right == size[1])
    return torch.minimum(down[:, None], across[None, :])


def ramp(length: int, border: int, first: bool, last: bool) -> Tensor:
    """(k+1)/border over the border of each side that has a neighbour, else 1."""
    x = torch.ones(length)
    border = min(border, length)
    rising = (torch.arange(border) + 1) / border
    if not first:
        x[:border] = rising
    if not last:
        x[-border:] = rising.flip(0)
    return x
