"""A transformer whose attention begins where it is most needed: at the same place of source and target.

Half of the heads add to every query and key one vector that stands on the quickest pairs of the rotary table alone. It
is turned by the token's place, so that a query and a key agree the more the nearer they are, in source and target
alike, which have the same places. So what is kept of a source is found at once; the other heads are free to look
everywhere. All of it is trained from there.
"""

from __future__ import annotations

import torch
from diffusers.models.transformers.transformer_wan import WanAttention

from sama_model.transformer import SamaTransformer3DModel

AMPLITUDES = (5.0, 2.5)
"""On the quickest pair of each axis and the next: an angle of 1 a place, which alone comes round after 6 places."""
GAIN = 1.5
"""Of the norms where the vector stands; it sharpens the attention, whose scores they limit."""


@torch.no_grad()
def begin_local(transformer: SamaTransformer3DModel) -> None:
    """Sets every block's self-attention."""
    rope = transformer.rope
    axes = (0, rope.t_dim, rope.t_dim + rope.h_dim)
    places = [first + 2 * i for first in axes for i in range(len(AMPLITUDES))]
    for block in transformer.blocks:
        point_to_own_place(block.attn1, places)


def point_to_own_place(attn: WanAttention, places: list[int]) -> None:
    """`places`: within a head, the first number of each pair that is used, axis by axis."""
    width = attn.to_q.out_features // attn.heads
    rows = torch.tensor([head * width + place for head in range((attn.heads + 1) // 2) for place in places])
    amplitudes = torch.tensor(AMPLITUDES).repeat(len(rows) // len(AMPLITUDES))
    for layer, norm in ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k)):
        layer.bias[rows] = amplitudes
        norm.weight[rows] = GAIN
        norm.weight[rows + 1] = GAIN
