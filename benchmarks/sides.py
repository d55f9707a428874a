"""The two sides of `benchmarks/transformer.py`: SAMA's network as it is, and the same weights run plainly by diffusers.

Needs torch and diffusers beside `sama_model`, nothing else of the project.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor

from sama_model.backends import backend
from sama_model.config import SEMANTIC_TOKENS, TEXT_TOKENS, TransformerSizes
from sama_model.reuse import Memory, Reuse
from sama_model.tokens import Joint, TokenLayout, joint_rotary, unpatchify
from sama_model.transformer import SamaTransformer3DModel

STEPS = 50
"""Of the released recipe."""
PROMPT_TOKENS = 32
"""Of each prompt; the rest of its 512 rows is padding, as in every real context."""


@dataclass(frozen=True)
class Inputs:
    """One step of a clip, with the texts of one or both guidance branches."""

    video: Tensor
    source: Tensor
    semantic: Tensor
    timesteps: Tensor
    contexts: Tensor

    @classmethod
    def drawn(
        cls, latents: tuple[int, ...], sizes: TransformerSizes, device: torch.device, dtype: torch.dtype
    ) -> Inputs:
        """Both branches."""
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
        shapes = (latents, latents, (1, SEMANTIC_TOKENS, sizes.semantic_dim))
        video, source, semantic = (draw(shape).to(device, dtype) for shape in shapes)
        contexts = draw(2, TEXT_TOKENS, sizes.text_dim).to(device, dtype)
        contexts[:, PROMPT_TOKENS:] = 0
        return cls(video, source, semantic, torch.linspace(1000, 20, STEPS), contexts)


# -- SAMA's network ---------------------------------------------------------------------------------------------------


def ours(network: SamaTransformer3DModel, given: Inputs, reuse: Reuse) -> Callable[[int], Joint]:
    """The network with a memory that lives as long as the runs, as it does over the steps of a clip."""
    memory = Memory(reuse, given.timesteps)

    def forward(step: int) -> Joint:
        timestep = given.timesteps[step : step + 1]
        return network(given.video, given.source, given.semantic, timestep, given.contexts, memory)

    return forward


# -- diffusers' own blocks --------------------------------------------------------------------------------------------


def plain_blocks(network: SamaTransformer3DModel, attention: str = "native") -> list[WanTransformerBlock]:
    """diffusers' own blocks with the network's weights (the same tensors) and a back end."""
    sizes = network.config
    dim = sizes.num_heads * sizes.head_dim
    blocks = []
    for mine in network.blocks:
        with torch.device("meta"):
            block = WanTransformerBlock(dim, sizes.ffn_dim, sizes.num_heads, cross_attn_norm=True, eps=sizes.eps)
        block.load_state_dict(mine.state_dict(), assign=True)
        for attn in (block.attn1, block.attn2):
            attn.processor._attention_backend = backend(attention)
        blocks.append(block.eval())
    return blocks


def run_plainly(network: SamaTransformer3DModel, blocks: list[WanTransformerBlock], given: Inputs, step: int) -> Joint:
    """The same computation without reuse: a row a branch from the start, everything anew, all rows to the end."""
    count = given.contexts.shape[0]
    video, source, semantic = (x.expand(count, *x.shape[1:]) for x in (given.video, given.source, given.semantic))
    target, condition = network.patches(video), network.patches(source)
    tokens = network.siglip_feat_mlp(semantic)
    layout = TokenLayout(condition.shape[1], tokens.shape[1], target.shape[1])
    sizes = torch.tensor([layout.source, layout.semantic, layout.target], device=video.device)
    kinds = torch.arange(3, device=video.device).repeat_interleave(sizes)
    x = torch.cat([condition, tokens, target], dim=1) + network.segment_embedding(kinds)
    rotary = joint_rotary(network.rope(video), layout.semantic)
    timestep = given.timesteps[step].to(video.device).expand(count)
    temb, modulation, context, _ = network.condition_embedder(timestep, given.contexts)
    for block in blocks:
        x = block(x, context, modulation.unflatten(1, (6, -1)), rotary)
    shift, scale = (network.scale_shift_table + temb[:, None]).chunk(2, dim=1)
    velocity = network.proj_out((network.norm_out(x.float()) * (1 + scale) + shift).type_as(x))
    grid = network.patch_grid(given.video, given.source)
    return Joint(
        unpatchify(velocity[:, layout.target_rows], grid, network.config.patch_size),
        network.semantic_head(x[:, layout.semantic_rows]),
    )


class ComplexRotation:
    """Self-attention that rotates as the official code does: pairs as complex numbers of double precision."""

    _parallel_config = None

    def __init__(self, attention: str) -> None:
        self._attention_backend = backend(attention)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):  # type: ignore[no-untyped-def]
        cos, sin = rotary_emb
        angles = torch.complex(cos[..., 0::2].double(), sin[..., 1::2].double())
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        query, key, value = (x.unflatten(2, (attn.heads, -1)) for x in (query, key, attn.to_v(hidden_states)))
        query, key = (
            torch.view_as_real(torch.view_as_complex(x.double().unflatten(-1, (-1, 2))) * angles).flatten(-2).type_as(x)
            for x in (query, key)
        )
        mixed = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        return attn.to_out[0](mixed.flatten(2))


# -- measures ---------------------------------------------------------------------------------------------------------


def flops(sizes: TransformerSizes, target: int, branches: int = 2) -> float:
    """Of one plain forward: 2 a multiplication, matrix products only (performance: linear and attention)."""
    d, rows = sizes.dim, 2 * target + SEMANTIC_TOKENS
    linear = (8 + 4) * rows * d * d + 4 * rows * d * sizes.ffn_dim + 4 * TEXT_TOKENS * d * d
    attention = 4 * rows * rows * d + 4 * rows * TEXT_TOKENS * d
    return float(branches * sizes.num_layers * (linear + attention))


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of a square product, the fastest of five."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(timed(lambda: a @ b, device) for _ in range(5))


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds: of one processor on a CPU, of the clock on an accelerator."""
    if device.type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def apart(a: Joint, b: Joint) -> float:
    """Relative difference of the velocities."""
    return float((a.video.float() - b.video.float()).norm() / b.video.float().norm())
