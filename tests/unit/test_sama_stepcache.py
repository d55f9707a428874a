"""The step cache: when the network is asked, and that it is asked always where nothing is to be approximated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sama_model.config import Recipe
from sama_model.guidance import Conditions
from sama_model.reuse import Memory
from sama_model.sampling import denoise, guided_steps
from sama_model.tokens import Joint

SHAPE = (1, 16, 2, 4, 4)


class Drawn:
    """A network that draws the state towards the source, and counts how often it is asked and with how many texts."""

    dtype = torch.float32

    def __init__(self) -> None:
        self.branches: list[int] = []

    def __call__(
        self,
        hidden_states: Tensor,
        source_states: Tensor,
        semantic_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        memory: Memory,
    ) -> Joint:
        count = encoder_hidden_states.shape[0]
        self.branches.append(count)
        bend = 1 + 0.1 * torch.sin(timestep / 300)
        return Joint(
            ((hidden_states - source_states) * bend).expand(count, -1, -1, -1, -1),
            semantic_states.expand(count, -1, -1),
        )


def run(recipe: Recipe) -> tuple[Joint, Drawn]:
    network, generator = Drawn(), torch.Generator().manual_seed(0)
    noise = Joint(torch.randn(SHAPE, generator=generator), torch.randn(1, 65, 8, generator=generator))
    conditions = Conditions(torch.randn(SHAPE, generator=generator), torch.zeros(2, 4, 8))
    return denoise(network, noise, conditions, recipe, lambda i, state: None), network


def test_without_a_threshold_every_step_asks() -> None:
    assert run(Recipe(10, 5.0, 5.0))[1].branches == [2] * 10


def test_with_one_fewer_steps_ask_and_the_result_stays_near() -> None:
    exact, _ = run(Recipe(30, 5.0, 5.0))
    near, network = run(Recipe(30, 5.0, 5.0, step_cache=0.1))
    assert 2 < len(network.branches) < 25
    assert (near.video - exact.video).norm() < 0.1 * exact.video.norm()


def test_a_larger_threshold_asks_less() -> None:
    counts = [len(run(Recipe(30, 5.0, 5.0, step_cache=threshold))[1].branches) for threshold in (0.02, 0.1, 0.5)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_guidance_ends_after_its_share_of_the_steps() -> None:
    assert run(Recipe(10, 5.0, 5.0, guided=0.5))[1].branches == [2] * 5 + [1] * 5
    assert run(Recipe(10, 1.0, 5.0, guided=0.5))[1].branches == [1] * 10
    assert guided_steps(Recipe(4, 5.0, 5.0, guided=0.0)) == 0


def test_where_guidance_ends_the_network_is_asked_again() -> None:
    """A cache over both halves would answer the unguided question with the guided velocity."""
    branches = run(Recipe(30, 5.0, 5.0, guided=0.5, step_cache=10.0))[1].branches
    assert branches == [2, 2, 1, 1, 1]


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        run(Recipe(4, 5.0, 5.0, guided=share))
