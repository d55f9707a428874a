"""Before it is trained, half of the heads look at their own place in source and target, the others everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sama_model.attention import rotate
from sama_model.config import TransformerSizes
from sama_model.text import split_heads
from sama_model.tokens import joint_rotary
from sama_model.training.local_attention import begin_local
from sama_model.transformer import SamaTransformer3DModel

pytestmark = pytest.mark.model

PATCHES, SEMANTIC = 2 * 4 * 7, 5


def looked_at(transformer: SamaTransformer3DModel, block: int) -> Tensor:
    """(heads, patches, all rows): attention of the target's rows to the sequence, for random features."""
    attn = transformer.blocks[block].attn1
    rotary = joint_rotary(transformer.rope(torch.zeros(1, 4, 2, 8, 14)), SEMANTIC)
    x = torch.randn(1, 2 * PATCHES + SEMANTIC, attn.to_q.in_features)
    query, key = (
        rotate(split_heads(norm(layer(x)), attn.heads), *rotary)[0].transpose(0, 1)
        for layer, norm in ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k))
    )
    return (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(dim=-1)[:, -PATCHES:]


@pytest.mark.parametrize(("heads", "width"), [(3, 64), (4, 64), (1, 32)])
def test_half_of_the_heads_begin_at_their_own_place(heads: int, width: int) -> None:
    torch.manual_seed(0)
    sizes = TransformerSizes(heads, width, 64, 2, 16, 16, 4, semantic_dim=8, semantic_hidden=8)
    transformer = SamaTransformer3DModel.of(sizes)
    own = torch.arange(PATCHES)
    with torch.no_grad():
        before = looked_at(transformer, 1)
        begin_local(transformer)
        after = looked_at(transformer, 1)
    local = (heads + 1) // 2
    for first in (0, PATCHES + SEMANTIC):  # source, target
        at_home = after[:, own, own + first].mean(dim=1)
        assert at_home[:local].min() > 10 / (2 * PATCHES)
        assert before[:, own, own + first].mean() < 3 / (2 * PATCHES)
    elsewhere = after[local:, :, PATCHES : PATCHES + SEMANTIC].sum(dim=-1)
    assert heads == local or elsewhere.mean() == pytest.approx(SEMANTIC / (2 * PATCHES + SEMANTIC), rel=0.3)
