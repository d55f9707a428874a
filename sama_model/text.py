"""The texts as the blocks read them: embedded rows, or the keys and values made of them; padding once instead of often.

c (B, 512, d)   contexts, their ends zeros
  (B, n, ...)   the same without most of the zeros, and how much each row weighs
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor


class TextRows(NamedTuple):
    """Rows of B texts."""

    rows: Tensor
    """(B, n, d)."""
    bias: Tensor | None = None
    """(B, 1, 1, n) logarithms of what the rows weigh in attention; None: all alike."""


class TextKeys(NamedTuple):
    """Keys and values of `TextRows` in one layer."""

    key: Tensor
    """(B, n, heads, head_dim)."""
    value: Tensor
    bias: Tensor | None


BlockText = TextRows | TextKeys

ROWS = 32
"""Texts are shown as a multiple of so many rows: compiled blocks are compiled anew for each number."""


def without_padding(contexts: Tensor) -> TextRows:
    """The rows of (B, 512, d) contexts, the zeros at an end as few that weigh as many: equal keys add up in softmax.

    In float32 only: in bfloat16 the weight itself would be rounded, by more than a percent.
    """
    count = contexts.shape[1]
    own = [int(rows.nonzero().amax()) + 1 if rows.any() else 0 for rows in contexts.ne(0).any(dim=-1)]
    kept = math.ceil((max(own) + 1) / ROWS) * ROWS
    if kept >= count or contexts.dtype != torch.float32:
        return TextRows(contexts)
    bias = contexts.new_zeros(len(own), 1, 1, kept)
    for i, filled in enumerate(own):
        bias[i, ..., filled:] = math.log((count - filled) / (kept - filled))
    return TextRows(contexts[:, :kept], bias)


def text_keys(attn: WanAttention, text: TextRows) -> TextKeys:
    """Keys and values of embedded rows in the layer of `attn`."""
    key = split_heads(attn.norm_k(attn.to_k(text.rows)), attn.heads)
    return TextKeys(key, split_heads(attn.to_v(text.rows), attn.heads), text.bias)


def of_branches(text: BlockText, branches: int) -> BlockText:
    """The first texts: a memory may hold those of more branches than a forward has."""
    bias = None if text.bias is None else text.bias[:branches]
    if isinstance(text, TextKeys):
        return TextKeys(text.key[:branches], text.value[:branches], bias)
    return TextRows(text.rows[:branches], bias)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * d) -> (B, N, heads, d)."""
    return x.reshape(*x.shape[:2], heads, -1)
