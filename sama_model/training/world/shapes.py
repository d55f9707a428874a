"""Outlines of things as signed distances: negative inside, 0 on the edge, in radii; and the sprite that covers one.

u runs to the right and v down, in radii from the centre. The distances are exact near the edge or close to it, which is
what an edge without steps needs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sama_model.training.world.rules import WorldRules
from sama_model.training.world.textures import grain, surface

Array = npt.NDArray[np.float32]

FINE = 2
"""Sprite pixels along a picture pixel."""
REACH = 1.25
"""Radii from a sprite's centre to its side."""


def distance(shape: str, u: Array, v: Array) -> Array:
    """Signed distance to the outline.

    Raises:
        KeyError: a shape that is not drawn.
    """
    return OUTLINES[shape](u, v)


def disc(u: Array, v: Array) -> Array:
    return np.asarray(np.hypot(u, v) - 0.92, dtype=np.float32)


def square(u: Array, v: Array) -> Array:
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.8, dtype=np.float32)


def triangle(u: Array, v: Array) -> Array:
    return polygon(u, v, [(0, -1.05), (1.0, 0.75), (-1.0, 0.75)])


def star(u: Array, v: Array) -> Array:
    turns = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2, 0.47, 1.15)
    return polygon(u, v, list(zip(reach * np.sin(turns), -reach * np.cos(turns), strict=True)))


def ring(u: Array, v: Array) -> Array:
    return np.asarray(np.abs(np.hypot(u, v) - 0.74) - 0.24, dtype=np.float32)


def cross(u: Array, v: Array) -> Array:
    upright = np.maximum(np.abs(u) - 0.32, np.abs(v) - 1)
    level = np.maximum(np.abs(u) - 1, np.abs(v) - 0.32)
    return np.asarray(np.minimum(upright, level), dtype=np.float32)


def heart(u: Array, v: Array) -> Array:
    """Two discs on the upper sides of a square that stands on its corner."""
    lobes = np.hypot(np.abs(u) - 0.46, v + 0.34) - 0.52
    body = polygon(u, v, [(0, 1.05), (0.93, -0.05), (0, -0.5), (-0.93, -0.05)])
    return np.asarray(np.minimum(lobes, body), dtype=np.float32)


def moon(u: Array, v: Array) -> Array:
    return np.asarray(np.maximum(np.hypot(u + 0.1, v) - 1, 0.78 - np.hypot(u - 0.42, v)), dtype=np.float32)


def polygon(u: Array, v: Array, corners: list[tuple[float, float]]) -> Array:
    """Distance to the nearest side, negative where an even number of sides is not crossed."""
    nearest = np.full_like(u, np.inf)
    inside = np.zeros(u.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        along = np.clip(((u - x0) * (x1 - x0) + (v - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(u - x0 - along * (x1 - x0), v - y0 - along * (y1 - y0)))
        if y0 != y1:
            inside ^= ((y0 > v) != (y1 > v)) & (u < (x1 - x0) * (v - y0) / (y1 - y0) + x0)
    return np.where(inside, -nearest, nearest).astype(np.float32)


OUTLINES = {
    "disc": disc,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
    "heart": heart,
    "moon": moon,
}


@lru_cache(maxsize=1024)
def sprite(rules: WorldRules, shape: str, colour: str, texture: str, size: str) -> Array:
    """(S, S, 4): colours in 0..255 times cover, and cover in 0..1, at `FINE` pixels a picture pixel.

    The cover falls from 1 to 0 over one picture pixel, whatever way the sprite is turned.
    """
    radius = dict(rules.sizes)[size]
    half = int(np.ceil(radius * REACH * FINE)) + FINE
    steps = (np.arange(2 * half + 1, dtype=np.float32) - half) / np.float32(radius * FINE)
    u, v = np.meshgrid(steps, steps)
    cover = np.clip(0.5 - distance(shape, u, v) * radius, 0, 1)[..., None]
    rgb = np.array(next(known.rgb for known in rules.colours if known.name == colour), dtype=np.float32)
    light = (surface(texture, u, v) * grain(len(steps)))[..., None]
    return np.concatenate([np.clip(rgb * light, 0, 255) * cover, cover], axis=-1).astype(np.float32)
