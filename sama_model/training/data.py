"""Examples to train on, by number; and how those that cannot be had are counted and named, never replaced.

A set of examples is a pure function of the number: which examples a step sees follows from the step alone, whatever was
seen before. That is what makes a resumed run the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


class BadExampleError(ValueError):
    """An example that cannot be trained on; says which and why."""


@dataclass(frozen=True)
class Example:
    """One pair."""

    name: str
    source: Frames
    """(T, H, W, 3), T = 4k+1."""
    target: Frames
    """The same shape."""
    text: str
    """What is asked for, without prefix."""
    kind: str
    """Edit or pretext, for the figures."""


class Examples(Protocol):
    """As many examples as are asked for. A frozen record: its `repr` names the data in checkpoints."""

    def example(self, number: int) -> Example:
        """Example `number`.

        Raises:
            BadExampleError: it cannot be had.
        """


@dataclass(frozen=True)
class Bad:
    """An example that was left out."""

    number: int
    reason: str


@dataclass(frozen=True)
class Share:
    """What of every step is one process's, of so many that train together."""

    index: int = 0
    count: int = 1

    def places(self, batch: int) -> range:
        """Of a step's examples, counted from 0."""
        return range(self.index, batch, self.count)


WHOLE = Share()
"""One process's that trains alone."""


@dataclass(frozen=True)
class Gathered:
    """A share of the examples of one step."""

    good: tuple[Example, ...]
    """None: not one of the whole step can be had."""
    bad: tuple[Bad, ...]
    """Left out: the step is made of fewer."""
    places: tuple[int, ...]
    """Of the good ones in the step."""
    of: int
    """Examples that the step was to have."""
    count: int
    """Of the good ones that are this share's: 0 when all of them are bad, and one of another's stands in, to count
    nothing."""


def gathered(examples: Examples, numbers: Sequence[int], share: Share = WHOLE) -> Gathered:
    """The share's of these numbers, a whole step's."""
    bad: list[Bad] = []
    good = _had(examples, numbers, share.places(len(numbers)), bad)
    count, own = len(good), tuple(bad)
    others = (place for place in range(len(numbers)) if place % share.count != share.index)
    while not good and (place := next(others, None)) is not None:
        good = _had(examples, numbers, [place], bad)
    return Gathered(tuple(good.values()), own, tuple(good), len(numbers), count)


def _had(examples: Examples, numbers: Sequence[int], places: Iterable[int], bad: list[Bad]) -> dict[int, Example]:
    """The good ones of these places; the others are added to `bad`."""
    good = {}
    for place in places:
        try:
            good[place] = checked(examples.example(numbers[place]))
        except BadExampleError as error:
            bad.append(Bad(numbers[place], str(error)))
    return good


def checked(example: Example) -> Example:
    """The example, if a network can be shown it.

    Raises:
        BadExampleError: the clips differ in shape, or are not 4k+1 frames, or nothing is asked for.
    """
    if example.source.shape != example.target.shape:
        shapes = f"{example.source.shape} and {example.target.shape}"
        raise BadExampleError(f"{example.name}: source and target differ in shape: {shapes}")
    if len(example.source) % 4 != 1:
        raise BadExampleError(f"{example.name}: {len(example.source)} frames are not 4k+1")
    if not example.text.strip():
        raise BadExampleError(f"{example.name}: no instruction")
    return example
