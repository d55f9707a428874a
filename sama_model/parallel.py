"""The two guidance branches on two processes: one has the instruction, the other the bare prefix.

Each runs its own branch and both integrate the same guided velocity, so that their states stay equal without being
sent. Only the velocities travel: 2 x (1, C, t, h, w) a step. `sama_model.rows` has the other way of using processes, in
which keys and values travel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from sama_model.guidance import Network
from sama_model.reuse import Memory, check
from sama_model.tokens import Joint

BRANCHES = 2

PARALLEL = frozenset({"branch_parallel", "context_parallel"})
"""Modes of `reuse.EXCLUDED` in which several processes work on one edit."""


@dataclass
class BranchParallel:
    """A network that answers with both branches and computes one: to be given to `sampling.denoise` on two processes.

    Belongs to one run, as a memory does.
    """

    network: Network
    group: dist.ProcessGroup | None = None
    """Of two processes; None: all that there are."""
    _unguided: dict[int, Memory] = field(default_factory=dict, init=False)
    """By the run's own memory (one a clip), for steps without guidance: a memory holds one branch's text, and theirs is
    the instruction on both processes."""

    def __post_init__(self) -> None:
        if (count := dist.get_world_size(self.group)) != BRANCHES:
            raise ValueError(f"guidance has {BRANCHES} branches: it runs on {BRANCHES} processes, not {count}")

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def __call__(
        self,
        hidden_states: Tensor,
        source_states: Tensor,
        semantic_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        memory: Memory,
    ) -> Joint:
        """As the network's own; where there is no guidance, both processes compute the same.

        Raises:
            CombinationError: a saving that needs both branches in one forward.
        """
        check(memory.reuse, ["branch_parallel"])
        states = (hidden_states, source_states, semantic_states, timestep)
        if encoder_hidden_states.shape[0] != BRANCHES:
            unguided = self._unguided.setdefault(id(memory), Memory(memory.reuse, memory.timesteps))
            return self.network(*states, encoder_hidden_states, unguided)
        rank = dist.get_rank(self.group)
        said = self.network(*states, encoder_hidden_states[rank : rank + 1], memory)
        return Joint(self._both(said.video), self._both(said.semantic))

    def _both(self, mine: Tensor) -> Tensor:
        """Every process's rows, in the order of the branches."""
        mine = mine.contiguous()
        rows = [torch.empty_like(mine) for _ in range(BRANCHES)]
        dist.all_gather(rows, mine, group=self.group)
        return torch.cat(rows)
