"""Stage 1: pairs of clips with their instruction."""

from __future__ import annotations

from dataclasses import dataclass

from sama_model.training.data import Example
from sama_model.training.world.samples import drawn, planned


@dataclass(frozen=True)
class StageOne:
    """Examples of the drawn world for stage 1."""

    seed: int

    def example(self, number: int) -> Example:
        """An edit of any kind."""
        sample = drawn(planned(self.seed, number))
        return Example(
            f"world {self.seed}/{number}", sample.source, sample.target, sample.plan.instruction, sample.plan.kind
        )
