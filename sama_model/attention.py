"""The two attentions of a Wan block as diffusers processors: over the sequence, and from the sequence to the text.

x (B, N, dim) -> q, k, v (B, N, heads, head_dim) -> (B, N, dim)

`set_attention_backend` decides the kernel; nothing here looks at what happens to be installed.
"""

from __future__ import annotations

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sama_model.rows import ALL_ROWS, Rows
from sama_model.text import BlockText, TextKeys, split_heads, text_keys
from sama_model.tokens import Rotary


class _Processor:
    """What diffusers sets on a processor."""

    _attention_backend: AttentionBackendName | None = None
    _parallel_config = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if has_slow_backward(query):
            return by_products(query, key, value)
        mixed: Tensor = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        return mixed


class SequenceAttention(_Processor):
    """Self-attention over the whole sequence, for the rows that are asked for."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: None,
        attention_mask: None,
        rotary_emb: Rotary,
        rows: Rows = ALL_ROWS,
    ) -> Tensor:
        """(B, N, dim) -> (B, N - rows.first, dim)."""
        cos, sin = rotary_emb
        query = rotate(split_heads(attn.norm_q(attn.to_q(hidden_states[:, rows.first :])), attn.heads), cos, sin)
        key = rotate(split_heads(attn.norm_k(attn.to_k(hidden_states)), attn.heads), cos, sin)
        value = split_heads(attn.to_v(hidden_states), attn.heads)
        key, value = rows.everybodys(key), rows.everybodys(value)
        if rows.semantic is None:
            mixed = self.attend(query, key, value)
        else:
            mixed = self._around_semantic(query, key, value, [row - rows.first for row in rows.semantic])
        out: Tensor = attn.to_out[0](mixed.flatten(2).type_as(hidden_states))
        return out

    def _around_semantic(self, query: Tensor, key: Tensor, value: Tensor, semantic: list[int]) -> Tensor:
        """A query of zeros attends to everything alike: its output is the mean of the values, whatever the kernel."""
        begin, end = semantic
        mixed = self.attend(torch.cat([query[:, :begin], query[:, end:]], dim=1), key, value)
        mean = value.mean(dim=1, keepdim=True).expand(-1, end - begin, -1, -1)
        return torch.cat([mixed[:, :begin], mean, mixed[:, begin:]], dim=1)


class TextAttention(_Processor):
    """Cross-attention to the text, given as a context or as keys and values that were made of it before."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: BlockText,
        attention_mask: None = None,
        rotary_emb: None = None,
    ) -> Tensor:
        """(B or 1, N, dim) -> (B, N, dim), B the rows of the text: one picture is asked about B texts."""
        given = encoder_hidden_states
        text = given if isinstance(given, TextKeys) else text_keys(attn, given)
        query = split_heads(attn.norm_q(attn.to_q(hidden_states)), attn.heads)
        mixed = self._attend_to(text, query.expand(text.key.shape[0], -1, -1, -1))
        out: Tensor = attn.to_out[0](mixed.flatten(2).type_as(hidden_states))
        return out

    def _attend_to(self, text: TextKeys, query: Tensor) -> Tensor:
        if text.bias is None:
            return self.attend(query, text.key, text.value)
        if has_slow_backward(query):
            return by_products(query, text.key, text.value, text.bias)
        query, key, value = (x.transpose(1, 2) for x in (query, text.key, text.value))
        return scaled_dot_product_attention(query, key, value, attn_mask=text.bias).transpose(1, 2)


def has_slow_backward(query: Tensor) -> bool:
    """Whether fused attention is best left alone: a CPU takes 3 to 6 times as long backward in bfloat16."""
    return query.requires_grad and query.dtype == torch.bfloat16 and query.device.type == "cpu"


def by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d) + bias) v, product by product, the softmax in float32: all of it is kept for backward."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    mixed: Tensor = scores.softmax(dim=-1).type_as(value) @ value
    return mixed.transpose(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of (B, n, heads, d) by its angle in the last n rows of the table, in float32."""
    count = x.shape[1]
    cos, sin = cos[:, -count:, :, 0::2], sin[:, -count:, :, 1::2]
    if torch.compiler.is_compiling():  # inductor fuses these, and writes no code for complex numbers
        even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).type_as(x)
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.complex(cos.float(), sin.float())).flatten(-2).type_as(x)
