"""Examples to train on, by number; and how those that cannot be had are counted and named, never replaced.

A set of examples is a pure function of the number: which examples a step sees follows from the step alone, whatever was
seen before. That is what makes a resumed run the same run.
"""

from __future__ import annotations

from collections.abc import Iterable
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
class Gathered:
    """The examples of one step."""

    good: tuple[Example, ...]
    bad: tuple[Bad, ...]
    """Left out: the step is made of fewer."""


def gathered(examples: Examples, numbers: Iterable[int]) -> Gathered:
    """All of these numbers.

    Raises:
        BadExampleError: none of them can be had, naming each.
    """
    good: list[Example] = []
    bad: list[Bad] = []
    for number in numbers:
        try:
            good.append(checked(examples.example(number)))
        except BadExampleError as error:
            bad.append(Bad(number, str(error)))
    if not good:
        named = "; ".join(f"{each.number}: {each.reason}" for each in bad)
        raise BadExampleError(f"no example of this step can be trained on: {named}")
    return Gathered(tuple(good), tuple(bad))


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
