"""Stage 0: captioned clips whose source is perturbed, and edits of single frames; no pair of clips is needed.

A step is of clips or of single frames, never of both: they do not fit into one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sama_model.training.data import Example
from sama_model.training.pretext import drawn_pretext, told
from sama_model.training.world.drawing import draw
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.samples import drawn, planned

STREAM = 80
"""First word of the seeds drawn here."""


@dataclass(frozen=True)
class StageZero:
    """Examples of a drawn world for stage 0."""

    seed: int
    batch: int
    """Examples of a step: `number // batch` is the step that decides between clips and single frames."""
    images: float = 0.5
    """Share of the steps that are of single frames; the paper does not say."""
    world: str = "full"
    """One of `WORLDS`."""
    kinds: tuple[str, ...] = ()
    """Kinds of edit of the single frames, taken in turn; none: any, by lot."""

    def example(self, number: int) -> Example:
        """A perturbed clip with its caption, or one frame of an edit with its instruction."""
        step = np.random.default_rng([STREAM, self.seed, 0, number // self.batch])
        own = np.random.default_rng([STREAM, self.seed, 1, number])
        return self.image(number, own) if step.random() < self.images else self.clip(number, own)

    def image(self, number: int, rng: np.random.Generator) -> Example:
        """One frame, the same of source and target."""
        kind = self.kinds[number % len(self.kinds)] if self.kinds else None
        rules = WORLDS[self.world]
        sample = drawn(planned(self.seed, number, kind=kind, rules=rules), rules)
        frame = int(rng.integers(len(sample.source)))
        one = slice(frame, frame + 1)
        name = f"{self.world} world {self.seed}/{number} frame {frame}"
        return Example(name, sample.source[one], sample.target[one], sample.plan.instruction, sample.plan.kind)

    def clip(self, number: int, rng: np.random.Generator) -> Example:
        """The clip is its own target."""
        rules = WORLDS[self.world]
        plan = planned(self.seed, number, rules=rules)
        frames = draw(plan.source, rules).frames
        pretext = drawn_pretext(rng)
        text = told(pretext, plan.source_caption)
        return Example(
            f"{self.world} world {self.seed}/{number}", pretext.perturb(frames, rng), frames, text, pretext.name
        )
