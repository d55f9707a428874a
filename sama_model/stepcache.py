"""A step cache: where the velocity hardly changes, a step takes the one before instead of asking the network.

An approximation, named in the recipe. After EasyCache (arXiv 2507.02860): v - x is what is kept, and how fast v answers
to a change of x, k = |dv| / |dx|, measured at the last two computed steps, foretells how far it has drifted since:

    drift += k |x_i - x_(i-1)| / |v_last|          asked again once the sum reaches the threshold
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sama_model.tokens import Joint

WARM_UP = 2
"""Steps that are always computed: two are needed to know k."""


@dataclass
class StepCache:
    """Belongs to one run."""

    threshold: float
    """0 never reuses."""
    steps: int
    _seen: Tensor | None = None
    """The video's state at the step before."""
    _last: tuple[Joint, Joint] | None = None
    """The state at the last computed step, and what the network said of it."""
    _answer: float = 0.0
    _drift: float = 0.0
    _computed: int = 0
    reused: int = 0
    """How many steps the network was not asked."""

    def recall(self, i: int, state: Joint) -> Joint | None:
        """The velocity at step i, or None if the network must be asked. The first and last steps always are."""
        seen, self._seen = self._seen, state.video
        if self.threshold <= 0 or self._computed < WARM_UP or i == self.steps - 1 or self._last is None or seen is None:
            return None
        asked, said = self._last
        self._drift += self._answer * size(state.video - seen) / size(said.video)
        if self._drift >= self.threshold:
            return None
        self.reused += 1
        return Joint(
            video=state.video + (said.video - asked.video),
            semantic=state.semantic + (said.semantic - asked.semantic),
        )

    def keep(self, state: Joint, velocity: Joint) -> None:
        """What the network said of `state`."""
        if self._last is not None:
            asked, said = self._last
            self._answer = size(velocity.video - said.video) / size(state.video - asked.video)
        self._last, self._drift = (state, velocity), 0.0
        self._computed += 1

    def forget(self) -> None:
        """The question changes: what was said answers another one."""
        self._last = None
        self._computed = 0


def size(x: Tensor) -> float:
    """Mean absolute value."""
    return float(x.float().abs().mean())
