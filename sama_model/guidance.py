"""Text guidance: what the network says with the instruction, pushed away from what it says without.

v = v- + scale * (v+ - v-), for the video's velocity and for the semantic one (models.md 1.1 step H). The source's
latents are there in both branches: only the text differs. At scale 1 the negative branch cancels: it is not computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sama_model.reuse import Memory, check
from sama_model.tokens import Joint


@dataclass(frozen=True)
class Conditions:
    """What one clip is edited by."""

    source: Tensor
    """(1, C, t, h, w) latents of the source."""
    contexts: Tensor
    """(2, 512, d): of the instruction and of the bare prefix; without guidance only the first is needed."""


class Network(Protocol):
    """`SamaTransformer3DModel`, as the sampler sees it."""

    @property
    def dtype(self) -> torch.dtype: ...

    def __call__(
        self,
        hidden_states: Tensor,
        source_states: Tensor,
        semantic_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        memory: Memory,
    ) -> Joint: ...


@dataclass(frozen=True)
class BranchesInTurn:
    """A network that answers with both branches and computes one after the other: half the rows at a time."""

    network: Network

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
        """As the network's own.

        Raises:
            CombinationError: a saving that needs both branches in one forward.
        """
        check(memory.reuse, ["branches_in_turn"])
        states = (hidden_states, source_states, semantic_states, timestep)
        branches = range(encoder_hidden_states.shape[0])
        said = [self.network(*states, encoder_hidden_states[i : i + 1], memory) for i in branches]
        return Joint(torch.cat([part.video for part in said]), torch.cat([part.semantic for part in said]))


def guided_velocity(
    network: Network, state: Joint, conditions: Conditions, timestep: Tensor, scale: float, memory: Memory
) -> Joint:
    """The velocity to integrate at `timestep` (1,). Both branches are one forward: they share what is not text."""
    contexts = conditions.contexts if scale != 1 else conditions.contexts[:1]
    said = network(state.video, conditions.source, state.semantic, timestep, contexts, memory)
    if scale == 1:
        return said
    return guide(said.row(0), said.row(1), scale)


def guide(positive: Joint, negative: Joint, scale: float) -> Joint:
    """Classifier-free guidance of both velocities."""
    return Joint(
        video=negative.video + scale * (positive.video - negative.video),
        semantic=negative.semantic + scale * (positive.semantic - negative.semantic),
    )
