"""Order, types and positions of the sequence [source | semantic | target]."""

from __future__ import annotations

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

from sama_model.tokens import TokenLayout, joint_rotary, unpatchify


def test_the_target_is_the_end_of_the_sequence() -> None:
    layout = TokenLayout(source=6, semantic=65, target=6)
    tokens = list(range(77))
    assert tokens[layout.semantic_rows] == tokens[6:71]
    assert tokens[layout.target_rows] == tokens[-6:]


def test_semantic_and_target_rows_are_found_where_the_source_was_left_out() -> None:
    layout = TokenLayout(source=6, semantic=65, target=6)
    tokens = list(range(6, 77))
    assert tokens[layout.semantic_rows] == list(range(6, 71))
    assert tokens[layout.target_rows] == list(range(71, 77))


def test_source_and_target_share_their_positions() -> None:
    cos, sin = joint_rotary(WanRotaryPosEmbed(12, (1, 2, 2), 16)(torch.zeros(1, 16, 3, 4, 4)), semantic=5)
    assert cos.shape == sin.shape == (1, 12 + 5 + 12, 1, 12)
    assert torch.equal(cos[:, :12], cos[:, -12:])
    assert torch.equal(sin[:, :12], sin[:, -12:])


def test_semantic_rows_are_zero_and_not_the_identity() -> None:
    cos, sin = joint_rotary(WanRotaryPosEmbed(12, (1, 2, 2), 16)(torch.zeros(1, 16, 3, 4, 4)), semantic=5)
    assert cos[:, 12:17].abs().max() == 0
    assert sin[:, 12:17].abs().max() == 0


def test_unpatchify_undoes_channel_last_patches() -> None:
    latents = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(1, 2, 3, 4, 6)
    patches = latents.reshape(1, 2, 3, 2, 2, 3, 2).permute(0, 2, 3, 5, 4, 6, 1).reshape(1, 18, 8)
    assert torch.equal(unpatchify(patches, (3, 2, 3), (1, 2, 2)), latents)
