"""The network's parity traps (models.md 1.4), on a random network of a few thousand numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sama_model.config import TransformerSizes
from sama_model.layers import TimestepSinusoid
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel

SIZES = TransformerSizes(
    num_heads=2, head_dim=12, ffn_dim=32, num_layers=2, text_dim=8, freq_dim=16, semantic_dim=20, semantic_hidden=12
)
PATCHES = 3 * 2 * 3
SEMANTIC = 5


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def network() -> SamaTransformer3DModel:
    torch.manual_seed(0)
    return SamaTransformer3DModel.of(SIZES).eval()


def inputs(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "hidden_states": torch.randn(1, 16, 3, 4, 6, generator=generator),
        "source_states": torch.randn(1, 16, 3, 4, 6, generator=generator),
        "semantic_states": torch.randn(1, SEMANTIC, 20, generator=generator),
        "timestep": torch.tensor([937.5]),
        "encoder_hidden_states": torch.randn(1, 512, 8, generator=generator),
    }


def test_velocities_have_the_shapes_of_what_they_move(network: SamaTransformer3DModel) -> None:
    said: Joint = network(**inputs())
    assert said.video.shape == (1, 16, 3, 4, 6)
    assert said.semantic.shape == (1, SEMANTIC, 20)


def test_every_semantic_token_attends_to_all_tokens_alike(network: SamaTransformer3DModel) -> None:
    """Zero queries: self-attention gives all semantic rows the plain mean of the values, whatever they hold."""
    seen: dict[str, Tensor] = {}
    attention = network.blocks[0].attn1
    attention.to_v.register_forward_hook(lambda _, __, values: seen.update(values=values))
    attention.to_out[0].register_forward_hook(lambda _, mixed, __: seen.update(mixed=mixed[0]))
    network(**inputs())
    rows = seen["mixed"][0, PATCHES : PATCHES + SEMANTIC]
    mean = seen["values"][0].mean(dim=0)
    torch.testing.assert_close(rows, mean.expand_as(rows), rtol=0, atol=1e-6)


def test_semantic_tokens_are_attended_by_the_others(network: SamaTransformer3DModel) -> None:
    changed = inputs() | {"semantic_states": inputs(seed=2)["semantic_states"]}
    assert (network(**inputs()).video - network(**changed).video).abs().max() > 1e-6


def test_type_embeddings_alone_tell_source_from_target(network: SamaTransformer3DModel) -> None:
    """With equal latents and equal types, source and target rows go through the blocks as equals."""
    same = inputs() | {"source_states": inputs()["hidden_states"]}
    final: list[Tensor] = []
    network.blocks[-1].register_forward_hook(lambda _, __, x: final.append(x))
    network(**same)
    network.segment_embedding.weight[2] = network.segment_embedding.weight[0]
    network(**same)
    apart, equal = final
    assert (apart[:, :PATCHES] - apart[:, -PATCHES:]).abs().max() > 1e-3
    torch.testing.assert_close(equal[:, :PATCHES], equal[:, -PATCHES:], rtol=0, atol=1e-6)


def test_one_timestep_modulates_all_tokens(network: SamaTransformer3DModel) -> None:
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    network(**inputs())
    assert seen[0].shape == (1, 6, SIZES.dim)


def test_padded_text_rows_are_attended(network: SamaTransformer3DModel) -> None:
    """Zero rows become a constant that cross-attention sees: leaving them out is another result."""
    context = inputs()["encoder_hidden_states"].clone()
    context[:, 40:] = 0
    padded = network(**inputs() | {"encoder_hidden_states": context}).video
    trimmed = network(**inputs() | {"encoder_hidden_states": context[:, :40]}).video
    assert (padded - trimmed).abs().max() > 1e-4


def test_the_sinusoid_is_cosines_then_sines_in_double_precision() -> None:
    said = TimestepSinusoid(8)(torch.tensor([937.5]))
    angles = [937.5 / 10000 ** (i / 4) for i in range(4)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    torch.testing.assert_close(said[0], torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-7)


def test_source_and_target_of_different_shape_are_refused(network: SamaTransformer3DModel) -> None:
    with pytest.raises(ValueError, match="differ"):
        network(**inputs() | {"source_states": torch.zeros(1, 16, 2, 4, 6)})


def test_latents_that_are_no_whole_patches_are_refused(network: SamaTransformer3DModel) -> None:
    odd = torch.zeros(1, 16, 3, 5, 6)
    with pytest.raises(ValueError, match="whole patches"):
        network(**inputs() | {"hidden_states": odd, "source_states": odd})


def test_in_bfloat16_the_network_says_nearly_the_same(network: SamaTransformer3DModel) -> None:
    given = inputs() | {"timestep": torch.tensor([936.0])}  # a timestep that bfloat16 holds exactly
    exact = network(**given).video
    rough = network.to(torch.bfloat16)(**{name: tensor.bfloat16() for name, tensor in given.items()}).video
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


def test_a_saved_network_is_the_same_when_loaded(network: SamaTransformer3DModel, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    again = SamaTransformer3DModel.from_pretrained(tmp_path)
    assert torch.equal(again(**inputs()).video, network(**inputs()).video)
