"""What can be done to a scene: each edit is a record that makes another scene of one, so that its target is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sama_model.training.world.motion import path, standing
from sama_model.training.world.rules import Place, WorldRules
from sama_model.training.world.scene import Background, Look, Scene, Thing, random_look, size
from sama_model.training.world.splits import Split, allowed_colours, held_out_pairs

CLEAR = 20.0
"""Pixels of the full world around a place within which nothing else should be when a thing is added there."""


@dataclass(frozen=True)
class Replace:
    """Another look, the same motion."""

    thing: Thing
    look: Look

    def applied(self, scene: Scene) -> Scene:
        return exchanged(scene, self.thing, replace(self.thing, look=self.look))


@dataclass(frozen=True)
class Add:
    """A new thing in front of all, standing on the ground: only the camera moves it."""

    look: Look
    place: Place
    at: tuple[float, float]

    def applied(self, scene: Scene) -> Scene:
        return replace(scene, things=(*scene.things, Thing(self.look, standing(self.at, scene.camera))))


@dataclass(frozen=True)
class Remove:
    """A thing less."""

    thing: Thing

    def applied(self, scene: Scene) -> Scene:
        return replace(scene, things=tuple(thing for thing in scene.things if thing != self.thing))


@dataclass(frozen=True)
class Recolour:
    """Another colour, all else the same."""

    thing: Thing
    colour: str

    def applied(self, scene: Scene) -> Scene:
        look = replace(self.thing.look, colour=self.colour)
        return exchanged(scene, self.thing, replace(self.thing, look=look))


@dataclass(frozen=True)
class Restyle:
    """A style over the whole frame."""

    style: str

    def applied(self, scene: Scene) -> Scene:
        return replace(scene, style=self.style)


@dataclass(frozen=True)
class ChangeBackground:
    """The first texture of another ground."""

    ground: str

    def applied(self, scene: Scene) -> Scene:
        return replace(scene, background=Background(self.ground))


Edit = Replace | Add | Remove | Recolour | Restyle | ChangeBackground


def exchanged(scene: Scene, old: Thing, new: Thing) -> Scene:
    """The scene with one thing for another, at the same depth."""
    return replace(scene, things=tuple(new if thing == old else thing for thing in scene.things))


# -- by lot -----------------------------------------------------------------------------------------------------------

TOGETHER = (
    ("recolour", "remove"),
    ("recolour", "background"),
    ("replace", "restyle"),
    ("replace", "background"),
    ("add", "recolour"),
    ("remove", "background"),
    ("add", "restyle"),
    ("recolour", "restyle"),
)
"""Kinds that compound instructions are made of, in their order."""


def random_edits(
    rng: np.random.Generator, scene: Scene, kind: str, split: Split, rules: WorldRules
) -> tuple[Scene, tuple[Edit, ...]]:
    """The scene to edit and what is done to it, in turn; the scene changes where a held-out thing must be in it."""
    if kind != "compound":
        return one_edit(rng, scene, kind, split, rules)
    first, second = TOGETHER[int(rng.integers(len(TOGETHER)))]
    if first == "recolour" and second == "remove" and len(scene.things) < 2:
        second = "background"
    scene, done = one_edit(rng, scene, first, split, rules)
    left = untouched(scene, done[0])
    if second in {"recolour", "remove"} and not left:
        second = "restyle"
    _, more = one_edit(rng, replace(scene, things=left), second, split, rules)
    return scene, (*done, *more)


def untouched(scene: Scene, edit: Edit) -> tuple[Thing, ...]:
    """The things that an edit is not about."""
    touched = edit.thing if isinstance(edit, Replace | Remove | Recolour) else None
    return tuple(thing for thing in scene.things if thing != touched)


def one_edit(
    rng: np.random.Generator, scene: Scene, kind: str, split: Split, rules: WorldRules
) -> tuple[Scene, tuple[Edit, ...]]:
    """As `random_edits`, of one kind that is not compound."""
    looks = [thing.look for thing in scene.things]
    if kind == "add":
        look = random_look(rng, rules, split, looks, size(rng, rules))
        place, at = free_place(rng, scene, rules)
        return scene, (Add(look, place, at),)
    if kind == "restyle":
        return scene, (Restyle(rules.styles[int(rng.integers(len(rules.styles)))].name),)
    if kind == "background":
        grounds = [ground.name for ground in rules.grounds if ground.name != scene.background.ground]
        return scene, (ChangeBackground(grounds[int(rng.integers(len(grounds)))]),)
    thing = scene.things[int(rng.integers(len(scene.things)))]
    if kind == "replace":
        return scene, (Replace(thing, random_look(rng, rules, split, looks, thing.look.size)),)
    if kind == "recolour":
        return scene, (Recolour(thing, other_colour(rng, thing.look, looks, split, rules)),)
    if split is Split.NEW_LOOKS:
        scene, thing = with_held_out(rng, scene, thing, rules)
    return scene, (Remove(thing),)


def other_colour(rng: np.random.Generator, look: Look, taken: list[Look], split: Split, rules: WorldRules) -> str:
    """A colour that no thing of this shape has in the scene."""
    has = {other.colour for other in taken if other.shape == look.shape}
    colours = [colour for colour in allowed_colours(rules, split, look.shape) if colour not in has]
    return colours[int(rng.integers(len(colours)))]


def with_held_out(rng: np.random.Generator, scene: Scene, thing: Thing, rules: WorldRules) -> tuple[Scene, Thing]:
    """The scene with a held-out combination in this thing's place."""
    pairs = held_out_pairs(rules)
    colour, shape = pairs[int(rng.integers(len(pairs)))]
    new = replace(thing, look=replace(thing.look, colour=colour, shape=shape))
    return exchanged(scene, thing, new), new


def free_place(rng: np.random.Generator, scene: Scene, rules: WorldRules) -> tuple[Place, tuple[float, float]]:
    """A place that nothing comes near during the clip, if there is one, and its pixels in frame 0."""
    order = [rules.places[i] for i in rng.permutation(len(rules.places))]
    spots = [(place, (place.x * rules.width, place.y * rules.height)) for place in order]
    clear = [(place, at) for place, at in spots if is_clear(at, scene, rules)]
    return (clear or spots)[0]


def is_clear(at: tuple[float, float], scene: Scene, rules: WorldRules) -> bool:
    """Whether nothing comes near the thing that would stand there."""
    mine, _ = path(standing(at, scene.camera), rules)
    paths = [path(thing.motion, rules)[0] for thing in scene.things]
    return all(float(np.hypot(*(theirs - mine).T).min()) >= CLEAR * rules.scale for theirs in paths)
