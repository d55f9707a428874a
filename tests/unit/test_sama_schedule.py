"""The sampler's times against the tables of the reference (models.md 1.1 step I)."""

from __future__ import annotations

import pytest
import torch

from sama_model.schedule import as_model_sees, flow_schedule

BF16_TIMESTEPS = """1000 996 992 988 984 980 972 968 964 956 952 948 940 936 928 920 912 908 900 892 884 872 864 856 844
832 820 808 796 784 768 752 736 720 700 680 660 636 612 584 556 524 488 448 406 358 304 242 172 92.5"""


def test_the_released_network_is_told_timesteps_rounded_to_bfloat16() -> None:
    told = as_model_sees(flow_schedule(50, 5.0).timesteps, torch.bfloat16)
    assert told.tolist() == [float(word) for word in BF16_TIMESTEPS.split()]


def test_in_float32_timesteps_are_not_rounded() -> None:
    timesteps = flow_schedule(50, 5.0).timesteps
    assert torch.equal(as_model_sees(timesteps, torch.float32), timesteps)


def test_sigmas_begin_at_exactly_one_and_end_at_exactly_zero() -> None:
    sigmas = flow_schedule(50, 5.0).sigmas
    assert (sigmas[0].item(), sigmas[-1].item(), len(sigmas)) == (1.0, 0.0, 51)


def test_the_shift_is_applied_once() -> None:
    sigmas = flow_schedule(50, 5.0).sigmas[:-1].double()
    left = torch.arange(50, 0, -1, dtype=torch.float64)
    torch.testing.assert_close(sigmas, 5 * left / (50 + 4 * left), rtol=1e-6, atol=0)


def test_without_shift_the_steps_are_even() -> None:
    torch.testing.assert_close(flow_schedule(4, 1.0).sigmas, torch.tensor([1, 0.75, 0.5, 0.25, 0]), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("steps", "shift"), [(0, 5.0), (-1, 5.0), (4, 0.0)])
def test_a_schedule_without_steps_or_shift_is_refused(steps: int, shift: float) -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        flow_schedule(steps, shift)
