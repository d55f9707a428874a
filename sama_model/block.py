"""One transformer block: Wan's, with SAMA's two attentions, registered for diffusers' caches.

x (B, N, dim)   hidden states; B may be 1 where the text has more rows: they then part at the text
m (1, 6, dim)   shift, scale, gate of attention, then of the feed-forward layer
"""

from __future__ import annotations

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor

from sama_model.attention import SequenceAttention, TextAttention
from sama_model.rows import ALL_ROWS, Rows
from sama_model.text import BlockText
from sama_model.tokens import Rotary


class SamaTransformerBlock(WanTransformerBlock):  # type: ignore[misc]
    """Wan's parameters and formulas (models.md 5.2); can leave rows out that nobody reads.

    Norms, modulation and gates are computed in float32, as diffusers does.
    """

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, eps: float) -> None:
        super().__init__(dim, ffn_dim, num_heads, cross_attn_norm=True, eps=eps)
        self.attn1.set_processor(SequenceAttention())
        self.attn2.set_processor(TextAttention())

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: BlockText,
        temb: Tensor,
        rotary_emb: Rotary,
        rows: Rows = ALL_ROWS,
    ) -> Tensor:
        """(B, N, dim), or this process's share of it -> (rows of the text, N - rows.first, dim)."""
        x = hidden_states
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + temb.float()).chunk(6, dim=1)
        attended = self.attn1(modulated(self.norm1(x.float()), shift1, scale1, x), None, None, rotary_emb, rows=rows)
        x = gated(x[:, rows.first :], attended, gate1)
        x = x + self.attn2(self.norm2(x.float()).type_as(x), encoder_hidden_states)
        fed = self.ffn(modulated(self.norm3(x.float()), shift2, scale2, x))
        return gated(x, fed, gate2)


TransformerBlockRegistry.register(
    SamaTransformerBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None),
)
"""diffusers looks a block's class up exactly: being a subclass of Wan's does not count."""


def modulated(normed: Tensor, shift: Tensor, scale: Tensor, like: Tensor) -> Tensor:
    """normed * (1 + scale) + shift, in one pass."""
    return torch.addcmul(shift, normed, 1 + scale).type_as(like)


def gated(x: Tensor, added: Tensor, gate: Tensor) -> Tensor:
    """x + added * gate, in one pass."""
    return torch.addcmul(x.float(), added.float(), gate).type_as(x)
