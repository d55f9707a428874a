"""What training never sees: one colour for each shape, three wordings for each kind of edit, and other seeds."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

from sama_model.training.world.rules import WorldRules

Pair = tuple[str, str]
"""Colour and shape."""


class Split(IntEnum):
    """What a sample is for. The numbers seed its stream: samples of two splits share none."""

    TRAIN = 0
    SEEN = 1
    """To evaluate on: combinations and wordings of the training."""
    NEW_LOOKS = 2
    """What is asked for, or what is to be removed, has a held-out combination of colour and shape."""
    NEW_WORDS = 3
    """The instruction is a held-out wording."""


@lru_cache
def held_out_pairs(rules: WorldRules) -> tuple[Pair, ...]:
    """The colour 3i+2 for shape i (modulo the colours), so that each colour and each shape is held out once."""
    colours = [colour.name for colour in rules.colours]
    return tuple((colours[(3 * i + 2) % len(colours)], shape.name) for i, shape in enumerate(rules.shapes))


@lru_cache
def allowed_pairs(rules: WorldRules) -> tuple[Pair, ...]:
    """All others."""
    held_out = set(held_out_pairs(rules))
    every = [(colour.name, shape.name) for colour in rules.colours for shape in rules.shapes]
    return tuple(pair for pair in every if pair not in held_out)


def allowed_colours(rules: WorldRules, split: Split, shape: str) -> tuple[str, ...]:
    """Colours that a thing of this shape may be given."""
    pairs = held_out_pairs(rules) if split is Split.NEW_LOOKS else allowed_pairs(rules)
    return tuple(colour for colour, its in pairs if its == shape)


def kinds(rules: WorldRules, split: Split) -> tuple[str, ...]:
    """Kinds of edit that samples of this split are of: a held-out look takes an edit that is about one thing."""
    return ("replace", "add", "remove", "recolour") if split is Split.NEW_LOOKS else rules.kinds


def wordings(rules: WorldRules, split: Split, kind: str) -> tuple[str, ...]:
    """Templates that an instruction of this kind may be made of."""
    templates = next(templates for templates in rules.grammar if templates.kind == kind)
    return templates.held_out if split is Split.NEW_WORDS else templates.training
