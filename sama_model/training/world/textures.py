"""Surfaces: noise with a power spectrum of its own, and what grounds and things are covered with.

Everything is a function of names and of the rules, kept once it was made. Colours are float32 in 0..255.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from sama_model.training.world.rules import Ground, WorldRules

Array = npt.NDArray[np.float32]

SIDE = 192
"""Pixels of a ground's texture along a side, after which it repeats."""
MARGIN = 128
"""Pixels by which it is continued, so that a picture can be cut from anywhere."""


def noise(seed: int, spectrum: float, stretch: tuple[float, float], side: int = SIDE) -> Array:
    """(side, side), mean 0, variance 1, repeating: white noise filtered to a power spectrum f^-spectrum."""
    rng = np.random.default_rng([17, seed])
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    frequency = np.hypot(fx * stretch[0], fy * stretch[1])
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(rng.standard_normal((side, side))) * frequency ** (-spectrum / 2) * (frequency > 1.5 / side)
    field = np.fft.irfft2(waves, s=(side, side))
    return np.asarray(field / field.std(), dtype=np.float32)


@lru_cache(maxsize=128)
def ground_texture(rules: WorldRules, name: str, variant: int) -> npt.NDArray[np.uint8]:
    """(SIDE + MARGIN, SIDE + MARGIN, 3): one of a ground's textures, continued beyond where it repeats."""
    ground = next(ground for ground in rules.grounds if ground.name == name)
    seed = zlib.crc32(f"{name} {variant}".encode())
    weight = np.clip(0.5 + 0.22 * relief(ground, seed), 0, 1)[..., None]
    dark, light = (np.array(tone, dtype=np.float32) for tone in (ground.dark, ground.light))
    texture = dark * (1 - weight) + light * weight
    whole = np.pad(texture, ((0, MARGIN), (0, MARGIN), (0, 0)), mode="wrap")
    return np.asarray(np.clip(whole, 0, 255), dtype=np.uint8)


def every_texture(rules: WorldRules) -> None:
    """Makes all of the grounds' textures, which are then kept."""
    for ground in rules.grounds:
        for variant in range(rules.variants):
            ground_texture(rules, ground.name, variant)


def relief(ground: Ground, seed: int) -> Array:
    """(SIDE, SIDE) of mean near 0: how dark or light a ground is where."""
    field = noise(seed, ground.spectrum, ground.stretch)
    if ground.name == "bricks":
        return bricks(field, seed)
    if ground.name == "wood":
        return planks(field, seed)
    if ground.name == "stones":
        return stones(field, seed)
    if ground.name == "sand":
        y = np.arange(SIDE, dtype=np.float32)[:, None]
        ripples = np.sin(2 * np.pi * y * 16 / SIDE + 1.5 * noise(seed + 1, 3.0, (2, 1)))
        return field * np.float32(0.8) + ripples.astype(np.float32)
    return field


def bricks(field: Array, seed: int) -> Array:
    """Rows of bricks 12 x 24, every second row set off by half a brick, with pale joints."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    row = y // 12
    aside = (x + 12 * (row % 2)) % SIDE
    tint = np.random.default_rng([18, seed]).normal(size=(SIDE // 12, SIDE // 24)).astype(np.float32)
    joints = (y % 12 < 1) | (aside % 24 < 1)
    return np.where(joints, np.float32(2.4), 0.5 * field + 0.9 * tint[row, aside // 24] - 0.4).astype(np.float32)


def planks(field: Array, seed: int) -> Array:
    """Boards 16 wide, each of its own tint, with dark gaps."""
    y = np.arange(SIDE)[:, None] + np.zeros((1, SIDE), dtype=np.int64)
    tint = np.random.default_rng([19, seed]).normal(size=SIDE // 16).astype(np.float32)
    return np.where(y % 16 < 1, np.float32(-2.2), 0.8 * field + 0.7 * tint[y // 16]).astype(np.float32)


def stones(field: Array, seed: int) -> Array:
    """Cells about the nearest of 260 points, each of its own tint, darker towards their edges."""
    rng = np.random.default_rng([20, seed])
    points, tints = rng.random((260, 2)) * SIDE, rng.normal(size=260).astype(np.float32)
    y, x = np.ogrid[0:SIDE, 0:SIDE]
    nearest = np.full((2, SIDE, SIDE), np.inf, dtype=np.float32)
    tint = np.zeros((SIDE, SIDE), dtype=np.float32)
    for (py, px), its in zip(points, tints, strict=True):
        down, aside = np.abs(y - py), np.abs(x - px)
        distance = np.hypot(np.minimum(down, SIDE - down), np.minimum(aside, SIDE - aside)).astype(np.float32)
        nearer = distance < nearest[0]
        nearest[1] = np.where(nearer, nearest[0], np.minimum(nearest[1], distance))
        nearest[0], tint = np.where(nearer, distance, nearest[0]), np.where(nearer, its, tint)
    rim = np.clip((nearest[1] - nearest[0]) / 4, 0, 1)
    return np.asarray(0.35 * field + 0.9 * tint + 2.4 * (rim - 0.9), dtype=np.float32)


def surface(texture: str, u: Array, v: Array) -> Array:
    """How light a thing is at (u, v), in radii from its centre: 1 is its colour, less is darker."""
    light = 1.06 - 0.1 * (u + v)
    if texture == "striped":
        return light * tones(np.sin(u * 2 * np.pi / 0.62))
    if texture == "checked":
        return light * tones(np.sin(u * np.pi / 0.5) * np.sin(v * np.pi / 0.5) * 2)
    if texture == "dotted":
        return light * tones(0.15 - np.cos(u * 2 * np.pi / 0.7) * np.cos(v * 2 * np.pi / 0.7) * 1.2 + 0.3)
    return light


def tones(wave: Array) -> Array:
    """Two tones with a soft edge between, from a wave about 0."""
    return np.asarray(0.42 + 0.58 * np.clip(0.5 + 1.4 * wave, 0, 1), dtype=np.float32)


def grain(side: int) -> Array:
    """(side, side) about 1: what keeps a plain surface from being flat."""
    return 1 + np.float32(0.05) * cv2.resize(noise(3, 1.2, (1, 1), 64), (side, side), interpolation=cv2.INTER_LINEAR)
