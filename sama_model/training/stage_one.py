"""Stage 1: pairs of clips with their instruction."""

from __future__ import annotations

from dataclasses import dataclass

from sama_model.training.data import Example
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.samples import drawn, planned


@dataclass(frozen=True)
class StageOne:
    """Examples of a drawn world for stage 1."""

    seed: int
    world: str = "full"
    """One of `WORLDS`."""
    kinds: tuple[str, ...] = ()
    """Kinds of edit, taken in turn; none: any, by lot."""

    def example(self, number: int) -> Example:
        """An edit."""
        kind = self.kinds[number % len(self.kinds)] if self.kinds else None
        rules = WORLDS[self.world]
        sample = drawn(planned(self.seed, number, kind=kind, rules=rules), rules)
        name = f"{self.world} world {self.seed}/{number}"
        return Example(name, sample.source, sample.target, sample.plan.instruction, sample.plan.kind)
