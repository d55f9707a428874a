"""A VAE that was never trained shows the clips of the world, as well as its layers can without a nonlinearity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sama_model.config import VaeSizes
from sama_model.training.batches import pixels
from sama_model.training.linear_code import begin
from sama_model.training.settings import LoopSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.vae import ClipBatches
from sama_model.weights import new_vae

pytestmark = pytest.mark.model


def clips(number: int, count: int) -> Tensor:
    return pixels(ClipBatches(StageOne(1, "small"), LoopSettings(1, count))(number).content.frames)


@pytest.mark.parametrize(
    ("sizes", "least"),
    [
        (VaeSizes(16, 16, (1, 2, 4), 1, (True, True)), 25.5),
        (VaeSizes(16, 24, (1, 2, 4), 1, (True, True)), 26.0),
        (VaeSizes(16, 16, (1, 1, 1), 0, (True, True)), 21.0),
        (VaeSizes(12, 16, (1, 2, 4, 4), 1, (False, True, True)), 20.0),
        (VaeSizes(18, 16, (1, 2, 4), 1, (True, True)), 25.5),
    ],
)
def test_an_untrained_vae_shows_clips_that_it_was_not_made_of(sizes: VaeSizes, least: float) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vae = new_vae(sizes)
    begin(vae, clips(0, 24))
    shown = clips(1000, 12)
    with torch.no_grad():
        posterior = vae.encode(shown).latent_dist
        error = vae.decode(posterior.mean).sample - shown
    assert 10 * torch.log10(4 / error.square().mean()) > least
    assert posterior.mean.std() == pytest.approx(1, abs=0.3)
    assert posterior.std.max() < 0.05


def test_every_layer_is_still_to_be_trained() -> None:
    """No gradient is lost: a branch says nothing, and its last layer learns to."""
    torch.manual_seed(0)
    vae = new_vae(VaeSizes(8, 8, (1, 2, 2), 1, (True, True)))
    begin(vae, clips(0, 4))
    shown = clips(10, 2)
    (vae.decode(vae.encode(shown).latent_dist.mean).sample - shown).square().mean().backward()
    still = [name for name, parameter in vae.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all("conv1" in name or "norm" in name or "to_qkv" in name for name in still), still
