"""What the forwards of one clip have in common, computed once; and which savings may be on together.

Every saving is exact: with it or without it the network says the same, to rounding. What each is worth stands in
docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from torch import Tensor

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Reuse:
    """The exact savings; all on by default but the last, which costs more copying than it saves multiplying."""

    source: bool = True
    """The source's tokens, the rotary table and the type embeddings: once a clip."""
    text: bool = True
    """The text's embedding and its keys and values in every layer: once a prompt. They hold no timestep."""
    padding: bool = True
    """The rows that pad a text are alike: one key that weighs as many. In float32 only, see `sama_model.text`."""
    times: bool = True
    """The time embeddings and modulations of all steps: ahead, in one product."""
    shared_first: bool = True
    """Block 0's self-attention for both guidance branches at once: text comes in after it."""
    pruned_last: bool = True
    """In the last block the source's rows serve as keys and values only: nothing reads them afterwards."""
    head: bool = True
    """The video's head on the target's rows only: nothing reads what it says of others."""
    semantic_mean: bool = False
    """Semantic queries are zero, so that their attention is the mean of the values: no product is needed."""

    @property
    def on(self) -> tuple[str, ...]:
        return tuple(item.name for item in fields(self) if getattr(self, item.name))


EXACT = tuple(item.name for item in fields(Reuse))
"""Names of all savings."""

EVERYTHING = Reuse(**dict.fromkeys(EXACT, True))
NOTHING = Reuse(**dict.fromkeys(EXACT, False))

EXCLUDED: dict[str, tuple[str, ...]] = {
    "block_cache": ("shared_first", "pruned_last"),  # its hooks subtract a block's input from its output: same shape
    "offload": ("text",),  # a block's weights are on the device only while its forward runs
    "branches_in_turn": ("text", "shared_first"),  # a forward has one branch: a memory would hold the other one's text
    "branch_parallel": ("shared_first",),  # each process has one branch: there is nothing to share
    "context_parallel": ("shared_first", "pruned_last", "semantic_mean"),  # each process has its own rows
}
"""Ways of running a network, and the savings that each of them excludes. What is not listed combines."""


class CombinationError(ValueError):
    """A saving that the way of running the network excludes."""


def check(reuse: Reuse, modes: Collection[str]) -> None:
    """Refuse a combination that `EXCLUDED` names.

    Raises:
        CombinationError: names the mode and the saving.
    """
    for mode in modes:
        if wrong := [name for name in EXCLUDED[mode] if getattr(reuse, name)]:
            raise CombinationError(f"{mode} excludes {', '.join(wrong)}: switch one of them off")


def legal(modes: Collection[str], wanted: Reuse | None = None) -> Reuse:
    """The most of `wanted` (by default the default savings) that `modes` leave."""
    off = {name: False for mode in modes for name in EXCLUDED[mode]}
    return replace(wanted or Reuse(), **off)


@dataclass
class Memory:
    """Belongs to one clip, one set of contexts and one schedule. The first forward fills it, the others read it."""

    reuse: Reuse
    timesteps: Tensor | None = None
    """(steps,) of the whole run, as the network is told them; None: each comes alone."""
    _of_clip: dict[str, object] = field(default_factory=dict)
    _of_all: dict[str, object] = field(default_factory=dict)
    """What hangs on the contexts or the schedule alone."""

    def of_another_clip(self) -> Memory:
        """For a clip with the same contexts and schedule: what hangs on these is held once."""
        return replace(self, _of_clip={})

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` makes, kept if the saving `name` is on."""
        if not getattr(self.reuse, name):
            return make()
        kept = self._of_clip if name == "source" else self._of_all
        if name not in kept:
            kept[name] = make()
        return kept[name]  # type: ignore[return-value]
