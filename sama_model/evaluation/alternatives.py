"""What other edits would have made of a scene: an edit counts as done only if it looks like none of these."""

from __future__ import annotations

from dataclasses import replace

from sama_model.training.world.edits import Add, ChangeBackground, Edit, Remove, Replace, Restyle
from sama_model.training.world.rules import WorldRules
from sama_model.training.world.samples import Plan
from sama_model.training.world.scene import Look, Scene


def alternatives(plan: Plan, rules: WorldRules) -> tuple[Scene, ...]:
    """Scenes in which one edit of the plan was left out, or done with another colour, shape, style or ground."""
    scenes = (
        after(plan.source, (*plan.edits[:i], *other, *plan.edits[i + 1 :]))
        for i, edit in enumerate(plan.edits)
        for other in ((), *((each,) for each in others(edit, rules)))
    )
    return tuple(dict.fromkeys(scene for scene in scenes if scene != plan.target))


def after(scene: Scene, edits: tuple[Edit, ...]) -> Scene:
    """The scene with all of these done to it, in turn."""
    for edit in edits:
        scene = edit.applied(scene)
    return scene


def others(edit: Edit, rules: WorldRules) -> tuple[Edit, ...]:
    """The edits that this one could be taken for."""
    if isinstance(edit, Restyle):
        return tuple(Restyle(style.name) for style in rules.styles if style.name != edit.style)
    if isinstance(edit, ChangeBackground):
        return tuple(ChangeBackground(ground.name) for ground in rules.grounds if ground.name != edit.ground)
    if isinstance(edit, Add):
        return tuple(replace(edit, look=look) for look in looks_beside(edit.look, rules))
    if isinstance(edit, Remove):
        return tuple(Replace(edit.thing, look) for look in looks_beside(edit.thing.look, rules))
    wanted = edit.look if isinstance(edit, Replace) else replace(edit.thing.look, colour=edit.colour)
    return (Remove(edit.thing), *(Replace(edit.thing, look) for look in looks_beside(wanted, rules)))


def looks_beside(look: Look, rules: WorldRules) -> tuple[Look, ...]:
    """The look in every other colour, and in every other shape."""
    colours = [replace(look, colour=colour.name) for colour in rules.colours if colour.name != look.colour]
    return (*colours, *(replace(look, shape=shape.name) for shape in rules.shapes if shape.name != look.shape))
