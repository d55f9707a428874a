"""One sample of the drawn world: source and target clip, instruction, mask and captions. Pure: (split, seed, index)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sama_model.training.world.drawing import Drawn, draw
from sama_model.training.world.edits import Edit, random_edits
from sama_model.training.world.rules import WORLD, WorldRules
from sama_model.training.world.scene import Scene, random_scene
from sama_model.training.world.splits import Split, kinds
from sama_model.training.world.wording import caption, instruction

STREAM = 8
"""First word of the world's seeds."""

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Plan:
    """A sample before it is drawn."""

    kind: str
    source: Scene
    target: Scene
    edits: tuple[Edit, ...]
    instruction: str
    source_caption: str
    target_caption: str


@dataclass(frozen=True)
class WorldSample:
    """A sample: the exact answer to an instruction."""

    plan: Plan
    source: Frames
    """(T, H, W, 3)."""
    target: Frames
    mask: Frames
    """(T, H, W): 255 where the edit may change the picture, 0 elsewhere."""


def planned(
    seed: int, index: int, split: Split = Split.TRAIN, kind: str | None = None, rules: WorldRules = WORLD
) -> Plan:
    """Sample `index` of a seed's stream; of any kind, or of the one that is named.

    Raises:
        ValueError: a kind that the split has not.
    """
    rng = np.random.default_rng([STREAM, int(split), seed, index])
    known = kinds(rules, split)
    if kind is not None and kind not in known:
        raise ValueError(f"{kind!r} is no kind of edit of the split {split.name}; it has {', '.join(known)}")
    if kind is None:
        kind = known[int(rng.integers(len(known)))]
    scene, edits = random_edits(rng, random_scene(rng, rules), kind, split, rules)
    target = scene
    for edit in edits:
        target = edit.applied(target)
    said = instruction(rng, scene, edits, split, rules)
    return Plan(kind, scene, target, edits, said, caption(rng, scene, rules), caption(rng, target, rules))


def drawn(plan: Plan, rules: WorldRules = WORLD) -> WorldSample:
    """The pixels of a plan."""
    source, target = draw(plan.source, rules), draw(plan.target, rules)
    return WorldSample(plan, source.frames, target.frames, edit_mask(plan, source, target))


def edit_mask(plan: Plan, source: Drawn, target: Drawn) -> Frames:
    """(T, H, W): where either clip shows something that the other scene has not; a style is everywhere."""
    before, after = plan.source, plan.target
    if before.style != after.style:
        return np.full(source.frames.shape[:3], 255, dtype=np.uint8)
    changed = np.zeros(source.frames.shape[:3], dtype=bool)
    for scene, other, clip in ((before, after, source), (after, before, target)):
        for thing, cover in zip(scene.things, clip.covers, strict=True):
            if thing not in other.things:
                changed |= cover > 0
        if before.background != after.background:
            changed |= clip.covers.sum(axis=0) < 1
    return changed.astype(np.uint8) * np.uint8(255)
