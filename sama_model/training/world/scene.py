"""A scene: what there is and how it moves, as frozen records; and scenes drawn by lot. No pixels here.

x runs to the right and y down, in pixels; time counts in frames; the camera's pan moves all that stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sama_model.training.world.motion import Motion, random_motion
from sama_model.training.world.rules import Word, WorldRules
from sama_model.training.world.splits import Split, allowed_pairs, held_out_pairs


@dataclass(frozen=True)
class Look:
    """How a thing looks, entirely: two things of one look differ in nothing but their motion."""

    shape: str
    colour: str
    texture: str
    size: str


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    look: Look
    motion: Motion


@dataclass(frozen=True)
class Background:
    """What is behind everything."""

    ground: str
    variant: int = 0
    offset: tuple[float, float] = (0.0, 0.0)
    """Where on the texture the picture begins. A background that was asked for is variant 0 at (0, 0): otherwise the
    target of an instruction could not be known."""


@dataclass(frozen=True)
class Scene:
    """One clip, before it is drawn."""

    background: Background
    camera: tuple[float, float]
    """Pixels a frame."""
    things: tuple[Thing, ...]
    """From the back to the front."""
    style: str = ""
    """Of the whole frame; empty is none."""


def random_scene(rng: np.random.Generator, rules: WorldRules) -> Scene:
    """A scene whose things differ in colour or shape, none in a held-out combination of the two."""
    count = int(rng.integers(rules.things[0], rules.things[1] + 1))
    pairs = allowed_pairs(rules)
    chosen = [pairs[i] for i in rng.choice(len(pairs), count, replace=False)]
    camera = (float(rng.uniform(-rules.pan, rules.pan)), float(rng.uniform(-rules.pan, rules.pan)))
    things: list[Thing] = []
    for colour, shape in chosen:
        look = Look(shape, colour, word(rng, rules.textures), size(rng, rules))
        motion = random_motion(rng, rules, camera, [thing.motion for thing in things])
        things.append(Thing(look, motion))
    offset = (float(rng.uniform(0, rules.width)), float(rng.uniform(0, rules.height)))
    ground = rules.grounds[int(rng.integers(len(rules.grounds)))].name
    background = Background(ground, int(rng.integers(rules.variants)), offset)
    return Scene(background, camera, tuple(things))


def random_look(rng: np.random.Generator, rules: WorldRules, split: Split, taken: Sequence[Look], size: str) -> Look:
    """A look that no thing of the scene shares colour and shape with; held out where the split is about that."""
    pairs = held_out_pairs(rules) if split is Split.NEW_LOOKS else allowed_pairs(rules)
    free = [pair for pair in pairs if pair not in {(look.colour, look.shape) for look in taken}]
    colour, shape = free[int(rng.integers(len(free)))]
    return Look(shape, colour, word(rng, rules.textures), size)


def word(rng: np.random.Generator, among: Sequence[Word]) -> str:
    """The name of one of them."""
    return among[int(rng.integers(len(among)))].name


def size(rng: np.random.Generator, rules: WorldRules) -> str:
    """The name of a size."""
    return rules.sizes[int(rng.integers(len(rules.sizes)))][0]
