"""What a picture of the world shows, as numbers that a classifier is trained on: of each cell, and of the whole.

cells  (T, 64) class of the thing that covers a cell most, or 0 for none        whole  (T, classes) 1 where it is there
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sama_model.training.world.rules import WorldRules
from sama_model.training.world.scene import Scene

Array = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

ENOUGH = 0.25
"""Share of a cell that a thing covers to be what the cell shows."""
SEEN = 4.0
"""Pixels that can be seen of a thing that is there."""

ATTRIBUTES = ("shape", "colour", "texture")


@dataclass(frozen=True)
class Vocabulary:
    """How many classes each question has."""

    local: dict[str, int]
    whole: dict[str, int]

    @classmethod
    def of(cls, rules: WorldRules) -> Vocabulary:
        things = {name: len(names_of(name, rules)) for name in ATTRIBUTES}
        local = {name: count + 1 for name, count in things.items()} | {"ground": len(rules.grounds)}
        styles = {"style": len(rules.styles)}
        return cls(local, things | {"place": len(rules.places), "ground": len(rules.grounds)} | styles)


@dataclass(frozen=True)
class Labels:
    """The answers for some pictures."""

    local: dict[str, Tensor]
    """(T, 64) int64 by question."""
    whole: dict[str, Tensor]
    """(T, classes) float32 by question."""

    @classmethod
    def together(cls, parts: Sequence[Labels]) -> Labels:
        """Those of all pictures, one after the other."""
        return cls(
            {name: torch.cat([part.local[name] for part in parts]) for name in parts[0].local},
            {name: torch.cat([part.whole[name] for part in parts]) for name in parts[0].whole},
        )


def names_of(attribute: str, rules: WorldRules) -> list[str]:
    """What a thing's attribute can be."""
    if attribute == "colour":
        return [colour.name for colour in rules.colours]
    return [word.name for word in (rules.shapes if attribute == "shape" else rules.textures)]


def labels_of(scene: Scene, covers: Array, rules: WorldRules, grid: int) -> Labels:
    """The answers for every frame of a scene that was drawn; covers (things, T, H, W)."""
    count, frames = covers.shape[:2]
    cells = pooled(covers, grid).reshape(count, frames, grid * grid)
    best = np.concatenate([np.full((1, frames, grid * grid), ENOUGH, dtype=np.float32), cells]).argmax(axis=0)
    there = covers.sum(axis=(2, 3)) >= SEEN
    always = np.ones((1, frames), dtype=bool)
    ground = [known.name for known in rules.grounds].index(scene.background.ground)
    styles = [style.name for style in rules.styles]
    own = [styles.index(scene.style)] if scene.style else []
    local = {"ground": torch.full((frames, grid * grid), ground)}
    whole = {
        "place": several(places_of(covers, rules), there, len(rules.places)),
        "ground": several(steady([ground], frames), always, len(rules.grounds)),
        "style": several(steady(own, frames), always[: len(own)], len(styles)),
    }
    for name in ATTRIBUTES:
        names = names_of(name, rules)
        classes = [names.index(getattr(thing.look, name)) for thing in scene.things]
        local[name] = torch.from_numpy(np.array([0, *(index + 1 for index in classes)])[best])
        whole[name] = several(steady(classes, frames), there, len(names))
    return Labels(local, whole)


def pooled(covers: Array, grid: int) -> Array:
    """(things, T, H, W) -> (things, T, grid, grid) means; the cells of sides that `grid` does not divide overlap."""
    pooled: Array = adaptive_avg_pool2d(torch.from_numpy(covers), grid).numpy()
    return pooled


def places_of(covers: Array, rules: WorldRules) -> Classes:
    """(things, T): the place that the middle of what can be seen of a thing is nearest to."""
    height, width = covers.shape[2:]
    mass = np.maximum(covers.sum(axis=(2, 3)), 1e-6)
    x = (covers.sum(axis=2) @ (np.arange(width) + 0.5)) / mass / width
    y = (covers.sum(axis=3) @ (np.arange(height) + 0.5)) / mass / height
    apart = [np.hypot(x - place.x, y - place.y) for place in rules.places]
    return np.asarray(np.argmin(apart, axis=0), dtype=np.int64)


def steady(classes: Sequence[int], frames: int) -> Classes:
    """(things, T) of what does not change."""
    return np.repeat(np.array(classes, dtype=np.int64)[:, None], frames, axis=1)


def several(classes: Classes, there: npt.NDArray[np.bool_], count: int) -> Tensor:
    """(things, T) classes, and whether they can be seen -> (T, count) 1 for those that one can."""
    found = np.zeros((there.shape[1], count), dtype=np.float32)
    for its, seen in zip(classes, there, strict=True):
        found[np.flatnonzero(seen), its[seen]] = 1
    return torch.from_numpy(found)
