"""An editor measured on held-out samples of the drawn world, beside no edit at all and the best that its VAE allows.

Loads no torch: whoever brings the editor does. Weights whose card has a world's picture and frames are measured in that
world. All others are shown the full world's clips at their own working size, and what they make is brought back to the
world's, as a source of that size would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sama_model.config import Recipe, WeightsCard
from sama_model.editors.base import Editor, EditRequest, LatentEditor, array_of, unused_progress
from sama_model.evaluation.scores import Means, Scores, Truth, means_of, truth_of
from sama_model.framing import resized
from sama_model.training.world.rules import WORLDS, WorldRules
from sama_model.training.world.samples import Plan, planned
from sama_model.training.world.splits import Split, kinds

Frames = npt.NDArray[np.uint8]

HELD_OUT = (Split.SEEN, Split.NEW_LOOKS, Split.NEW_WORDS)
"""What may be evaluated on."""
OTHERS = "full"
"""World in which weights are measured that were made for none."""
ALL = "all"
"""Name of a split's row over all its kinds of edit."""


@dataclass(frozen=True)
class Sample:
    """One sample to evaluate on."""

    split: Split
    index: int
    plan: Plan
    world: str
    """One of `WORLDS`."""


@dataclass(frozen=True)
class Measured:
    """One sample, edited. Part of the `--json` output: fields are added, never renamed."""

    split: str
    kind: str
    index: int
    """With split, kind and seed it names the sample."""
    instruction: str
    result: Scores
    no_edit: Scores
    """Of the source as it is."""
    ceiling: Scores | None
    """Of the exact target through the editor's VAE; None for an editor without one."""


@dataclass(frozen=True)
class Row:
    """Means over the samples of one split and kind of edit. Part of the `--json` output, as `Measured`."""

    split: str
    kind: str
    """Of edit, or `all`."""
    count: int
    result: Means
    no_edit: Means
    ceiling: Means | None


@dataclass(frozen=True)
class Edited:
    """A measured sample with its pictures."""

    measured: Measured
    truth: Truth
    frames: Frames


def name_of(split: Split) -> str:
    """As commands and results write it: `seen`, `new-looks`, `new-words`."""
    return split.name.lower().replace("_", "-")


def world_of(card: WeightsCard) -> str:
    """Name of the world that these weights are measured in: the one of their picture and frames, else the full one."""
    made_for = (
        name
        for name, rules in WORLDS.items()
        if (rules.width, rules.height) in card.buckets and rules.frames == card.geometry.chunk_frames
    )
    return next(made_for, OTHERS)


def chosen(seed: int, count: int, splits: Sequence[Split], world: str = OTHERS) -> tuple[Sample, ...]:
    """`count` samples of each split of a world, its kinds of edit in turn.

    Raises:
        ValueError: a split that was trained on.
    """
    if trained := [split.name for split in splits if split not in HELD_OUT]:
        raise ValueError(f"{', '.join(trained)}: not held out; there are {', '.join(s.name for s in HELD_OUT)}")
    samples = []
    for split in splits:
        known = kinds(WORLDS[world], split)
        for index in range(count):
            plan = planned(seed, index, split, known[index % len(known)], WORLDS[world])
            samples.append(Sample(split, index, plan, world))
    return tuple(samples)


def check_length(card: WeightsCard, rules: WorldRules) -> None:
    """Refuse weights that edit less at once than a clip of the world. Raises ValueError."""
    if card.geometry.chunk_frames < rules.frames:
        raise ValueError(
            f"weights '{card.name}' edit {card.geometry.chunk_frames} frames at once; clips of the world have "
            f"{rules.frames}"
        )


def evaluated(editor: Editor, recipe: Recipe | None, samples: Iterable[Sample]) -> Iterator[Edited]:
    """Edits and measures one sample after the other; the noise's seed is the sample's number.

    Raises:
        ValueError: weights that edit less at once than a clip of the world.
    """
    for sample in samples:
        check_length(editor.card, WORLDS[sample.world])
        truth = truth_of(sample.plan, WORLDS[sample.world])
        source, target, said = truth.sample.source, truth.sample.target, sample.plan.instruction

        def edit(frames: Frames, said: str = said, seed: int = sample.index) -> Frames:
            return array_of(editor.edit(EditRequest(frames, said, seed, recipe), unused_progress))

        result = at_working_size(editor.card, source, edit)
        ceiling = None
        if isinstance(editor, LatentEditor):
            ceiling = truth.scores(at_working_size(editor.card, target, editor.round_trip))
        name = (name_of(sample.split), sample.plan.kind, sample.index, said)
        line = Measured(*name, truth.scores(result), truth.scores(source), ceiling)
        yield Edited(line, truth, result)


def at_working_size(card: WeightsCard, frames: Frames, change: Callable[[Frames], Frames]) -> Frames:
    """The clip changed at the size at which the weights would edit a source of its size, and brought back."""
    height, width = frames.shape[1:3]
    return resized(change(resized(frames, card.working_size(width, height))), (width, height))


def rows_of(measured: Sequence[Measured]) -> tuple[Row, ...]:
    """Means by split and kind, in the order in which they were met, each split's mean over all after its kinds."""
    rows = []
    for split in dict.fromkeys(each.split for each in measured):
        its = [each for each in measured if each.split == split]
        for kind in dict.fromkeys(each.kind for each in its):
            rows.append(row(split, kind, [each for each in its if each.kind == kind]))
        rows.append(row(split, ALL, its))
    return tuple(rows)


def row(split: str, kind: str, measured: Sequence[Measured]) -> Row:
    """Of at least one sample."""
    ceilings = [each.ceiling for each in measured if each.ceiling is not None]
    return Row(
        split,
        kind,
        len(measured),
        means_of([each.result for each in measured]),
        means_of([each.no_edit for each in measured]),
        means_of(ceilings) if ceilings else None,
    )
