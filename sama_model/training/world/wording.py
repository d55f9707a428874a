"""Instructions and captions: what an edit is called, and what a scene shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from sama_model.training.world.edits import Add, ChangeBackground, Edit, Recolour, Remove, Replace, Restyle
from sama_model.training.world.rules import Colour, Ground, Place, Word, WorldRules
from sama_model.training.world.scene import Look, Scene
from sama_model.training.world.splits import Split, wordings


def instruction(rng: np.random.Generator, scene: Scene, edits: Sequence[Edit], split: Split, rules: WorldRules) -> str:
    """One edit, or two made into one sentence."""
    parts = [worded(rng, scene, edit, split, rules) for edit in edits]
    if len(parts) == 1:
        return finished(rng, parts[0])
    joint = chosen(rng, wordings(rules, split, "compound"))
    return finished(rng, joint.format(first=parts[0], second=parts[1]))


def worded(rng: np.random.Generator, scene: Scene, edit: Edit, split: Split, rules: WorldRules) -> str:
    """One edit."""
    looks = [thing.look for thing in scene.things]
    template = chosen(rng, wordings(rules, split, kind_of(edit)))
    if isinstance(edit, Add):
        new = f"a {described(rng, edit.look, rules, (True, True))}"
        return template.format(new=article(new), place=said(rng, rules.places, edit.place.name))
    if isinstance(edit, Restyle):
        return template.format(style=said(rng, rules.styles, edit.style))
    if isinstance(edit, ChangeBackground):
        return template.format(ground=said(rng, rules.grounds, edit.ground))
    thing = f"the {referred(rng, edit.thing.look, looks, rules)}"
    if isinstance(edit, Recolour):
        return template.format(thing=thing, colour=said(rng, rules.colours, edit.colour))
    if isinstance(edit, Remove):
        return template.format(thing=thing)
    new = f"a {described(rng, edit.look, rules, (False, True))}"
    return template.format(thing=thing, new=article(new))


def kind_of(edit: Edit) -> str:
    """Its name in the grammar."""
    names = {
        Replace: "replace",
        Add: "add",
        Remove: "remove",
        Recolour: "recolour",
        Restyle: "restyle",
        ChangeBackground: "background",
    }
    return names[type(edit)]


def caption(rng: np.random.Generator, scene: Scene, rules: WorldRules) -> str:
    """What a scene shows."""
    names = [article(f"a {described(rng, thing.look, rules, (True, True))}") for thing in scene.things] or ["nothing"]
    things = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    ground = said(rng, rules.grounds, scene.background.ground)
    style = f", as {said(rng, rules.styles, scene.style)}" if scene.style else ""
    return f"{things} over {ground}{style}"


# -- words ------------------------------------------------------------------------------------------------------------


def described(rng: np.random.Generator, look: Look, rules: WorldRules, tell: tuple[bool, bool]) -> str:
    """Colour and shape, with size and texture where they are told: nothing that is told of a look is left open."""
    size = look.size if tell[0] and look.size != "medium" else ""
    texture = said(rng, rules.textures, look.texture) if tell[1] and look.texture != "plain" else ""
    words = (size, texture, said(rng, rules.colours, look.colour), said(rng, rules.shapes, look.shape))
    return " ".join(filter(None, words))


def referred(rng: np.random.Generator, look: Look, looks: Sequence[Look], rules: WorldRules) -> str:
    """A description of a thing that fits no other of the scene, by any of its attributes that suffice."""
    told = (False, True)
    ways = [way for way in product(told, told, told) if is_alone(look, looks, way)]
    colour, size, texture = ways[int(rng.integers(len(ways)))]
    words = (
        look.size if size and look.size != "medium" else "",
        said(rng, rules.textures, look.texture) if texture and look.texture != "plain" else "",
        said(rng, rules.colours, look.colour) if colour else "",
        said(rng, rules.shapes, look.shape),
    )
    return " ".join(filter(None, words))


def is_alone(look: Look, looks: Sequence[Look], way: tuple[bool, bool, bool]) -> bool:
    """Whether shape and the attributes told (colour, size, texture) fit this look alone.

    A medium size and a plain texture are told by silence, which fits every size and texture.
    """
    colour, size, texture = way
    others = [other for other in looks if other != look and other.shape == look.shape]
    if colour:
        others = [other for other in others if other.colour == look.colour]
    if size and look.size != "medium":
        others = [other for other in others if other.size == look.size]
    if texture and look.texture != "plain":
        others = [other for other in others if other.texture == look.texture]
    return not others


def said(rng: np.random.Generator, words: Sequence[Word | Colour | Ground | Place], name: str) -> str:
    """One of the words for a name."""
    return chosen(rng, next(word.words for word in words if word.name == name))


def chosen(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def article(name: str) -> str:
    """`an` before a vowel."""
    return f"an {name[2:]}" if name[2] in "aeio" else name


def finished(rng: np.random.Generator, sentence: str) -> str:
    """As people write: with or without a capital and a full stop."""
    if rng.random() < 0.5:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + "." if rng.random() < 0.3 else sentence
