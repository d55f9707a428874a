"""Where workers run, as the dispatcher sees it: an `Executor` begins rounds, a `Round` says how its workers fare.

`tasks.local` and `tasks.kubernetes` are the two kinds; one contract suite runs over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tasks.exits import Outcome


@dataclass(frozen=True)
class RoundOrder:
    """One round of a dispatch: which of its shards need a worker, and what these workers need."""

    dispatch_id: str
    digest: str
    """sha256 over all shards of the dispatch: tells the dispatch from another one of that name."""
    number: int
    """From 1."""
    indexes: tuple[int, ...]
    places: int
    """Workers at once."""
    priority: int = 0
    host_memory_steps: int = 0
    """How often workers of this dispatch ended for want of host memory: each time calls for twice as much."""
    larger_device: bool = False
    """Whether workers of this dispatch ended for want of device memory."""

    @property
    def attempt(self) -> int:
        """What the workers of this round are called with; names their status objects."""
        return self.number - 1


@dataclass(frozen=True)
class WorkerView:
    """One worker, a process or a pod, as it is seen from outside."""

    index: int
    """Of its shard."""
    name: str
    """The pod's name; empty for a process, of which there is one a shard and round."""
    host: str
    """Node, or this machine."""
    started_at: datetime | None
    """None while it waits for a place."""
    ended_at: datetime | None = None
    exit_code: int | None = None
    """None while it lives, or when nobody saw it end; negative for a signal."""
    outcome: Outcome | None = None
    """None while it lives."""
    image: str = ""
    """Container image of the pod, by digest; empty for a process."""


@dataclass(frozen=True)
class RoundView:
    """All of a round at one moment."""

    workers: tuple[WorkerView, ...] = ()
    """Every one that was seen, in order of shard, then of start. A shard may have had several, or two at once."""
    places: int = 0
    """Places that the round occupies, or will as soon as they are free."""
    over: bool = False
    """No worker of the round runs any more or will."""
    trouble: str = ""
    """Why it does not get on at present, and what to do, in one sentence; empty when all is well."""
    unheard: bool = False
    """Nobody says at present how workers fare: some may work, or have ended, that are not in `workers` as such."""


class Round(Protocol):
    """The workers of one round. Its methods are called from one thread."""

    def poll(self) -> RoundView:
        """How its workers fare. Never waits for a server that does not answer: that is a `trouble`.

        Raises:
            PermanentError: there can be no such round (rights, a foreign Job of its name).
        """
        ...

    def stop(self) -> None:
        """End its workers now, and forget what they left behind with the executor. Repeating it is harmless."""
        ...


class Executor(Protocol):
    """What has places for workers; one a run."""

    @property
    def places(self) -> int:
        """Workers at once, over all rounds."""
        ...

    @property
    def poll_seconds(self) -> float:
        """How often it is worth looking at rounds."""
        ...

    @property
    def outlives_flow(self) -> bool:
        """Whether workers live on without their flow, to be taken over by the next one."""
        ...

    def begin(self, order: RoundOrder) -> Round:
        """Start a worker for each shard of the order; returns at once."""
        ...

    def resume(self, order: RoundOrder) -> Round | None:
        """The round that a dead flow began, if its workers may still run or have left their results; else None."""
        ...

    def blame(self, host: str, shard: str) -> None:
        """A worker of that shard failed there in a way that may be the machine's fault."""
        ...

    def praise(self, host: str) -> None:
        """A worker did its work there."""
        ...

    def close(self) -> None:
        """Give back what the executor itself holds; rounds are stopped or left before."""
        ...
