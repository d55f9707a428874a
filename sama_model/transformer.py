"""The SAMA transformer on diffusers' Wan blocks (models.md 1.1 step G).

video     x   (B, C, t, h, w)    noisy latents of the edit        -> N target tokens
source    s   (B, C, t, h, w)    latents of the source            -> N source tokens
semantic  m   (B, 65, 1152)      noisy semantic tokens            -> 65 tokens
context   c   (B, 512, text)     text, padded rows included
timestep  t   (B,)               one for all tokens, source included
sequence      (B, N + 65 + N, dim)
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanRotaryPosEmbed,
    WanTimeTextImageEmbedding,
    WanTransformerBlock,
)
from torch import Tensor, nn

from sama_model.config import TransformerSizes
from sama_model.layers import TimestepSinusoid
from sama_model.semantic import SemanticHead, SigLIPFeatMLP
from sama_model.tokens import Joint, Rotary, TokenLayout, joint_rotary, unpatchify

MAX_POSITIONS = 1024


class SamaTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):  # type: ignore[misc]
    """Predicts the velocity (noise - data) of the edit's latents and of its semantic tokens.

    Parameter names are diffusers' for the Wan part and the released file's for the rest: `sama_model.weights` maps.
    """

    _supports_gradient_checkpointing = False
    _no_split_modules: ClassVar = ["WanTransformerBlock"]
    _repeated_blocks: ClassVar = ["WanTransformerBlock"]
    _keep_in_fp32_modules: ClassVar = ["rope"]
    _skip_layerwise_casting_patterns: ClassVar = ["patch_embedding", "condition_embedder", "segment_embedding", "norm"]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_heads: int = 40,
        head_dim: int = 128,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        text_dim: int = 4096,
        freq_dim: int = 256,
        latent_channels: int = 16,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        semantic_dim: int = 1152,
        semantic_hidden: int = 1024,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        dim = num_heads * head_dim
        self.rope = WanRotaryPosEmbed(head_dim, patch_size, MAX_POSITIONS)
        self.patch_embedding = nn.Conv3d(latent_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.condition_embedder = WanTimeTextImageEmbedding(dim, freq_dim, dim * 6, text_dim)
        self.condition_embedder.timesteps_proj = TimestepSinusoid(freq_dim)
        self.segment_embedding = nn.Embedding(3, dim)
        self.siglip_feat_mlp = SigLIPFeatMLP(semantic_dim, semantic_hidden, dim)
        self.blocks = nn.ModuleList(
            WanTransformerBlock(dim, ffn_dim, num_heads, cross_attn_norm=True, eps=eps) for _ in range(num_layers)
        )
        self.semantic_head = SemanticHead(dim, semantic_dim)
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, latent_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

    @classmethod
    def of(cls, sizes: TransformerSizes) -> SamaTransformer3DModel:
        """A network of these sizes, with diffusers' default initialisation."""
        model: SamaTransformer3DModel = cls(**asdict(sizes))
        return model

    def forward(
        self,
        hidden_states: Tensor,
        source_states: Tensor,
        semantic_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
    ) -> Joint:
        """Velocity of the video latents and of the semantic tokens.

        Args: hidden_states and source_states (B, C, t, h, w), semantic_states (B, 65, 1152), timestep (B,) in 0..1000,
        encoder_hidden_states (B, 512, text_dim).

        Raises:
            ValueError: source and target differ in shape, or their sides are not whole patches.
        """
        grid = self.patch_grid(hidden_states, source_states)
        source, target = self.patches(source_states), self.patches(hidden_states)
        semantic = self.siglip_feat_mlp(semantic_states)
        layout = TokenLayout(source.shape[1], semantic.shape[1], target.shape[1])

        x = torch.cat([source, semantic, target], dim=1)
        x = x + self.segment_embedding(layout.type_ids(x.device))
        rotary = joint_rotary(self.rope(hidden_states), layout.semantic)
        temb, modulation, context, _ = self.condition_embedder(timestep, encoder_hidden_states)
        x = self.run_blocks(x, context, modulation.unflatten(1, (6, -1)), rotary)

        velocity = self.video_head(x[:, layout.target_rows], temb)
        return Joint(
            video=unpatchify(velocity, grid, self.config.patch_size),
            semantic=self.semantic_head(x[:, layout.semantic_rows]),
        )

    def patches(self, latents: Tensor) -> Tensor:
        """(B, C, t, h, w) -> (B, N, dim): one convolution for source and target alike."""
        return self.patch_embedding(latents).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def run_blocks(self, x: Tensor, context: Tensor, modulation: Tensor, rotary: Rotary) -> Tensor:
        """All blocks, full attention over the whole sequence; context (B, 512, dim), modulation (B, 6, dim)."""
        for block in self.blocks:
            x = block(x, context, modulation, rotary)
        return x

    def video_head(self, x: Tensor, temb: Tensor) -> Tensor:
        """(B, N, dim) hidden states of the target -> (B, N, C*p) patches of the velocity."""
        shift, scale = (self.scale_shift_table + temb[:, None]).chunk(2, dim=1)
        x = (self.norm_out(x.float()) * (1 + scale) + shift).type_as(x)
        return self.proj_out(x)  # type: ignore[no-any-return]

    def patch_grid(self, target: Tensor, source: Tensor) -> tuple[int, int, int]:
        """Patches along time, height and width."""
        if source.shape != target.shape:
            raise ValueError(f"source latents {tuple(source.shape)} and target latents {tuple(target.shape)} differ")
        sides = tuple(zip(target.shape[2:], self.config.patch_size, strict=True))
        if any(side % patch for side, patch in sides):
            raise ValueError(f"latents {tuple(target.shape)} are not whole patches of {self.config.patch_size}")
        frames, height, width = (side // patch for side, patch in sides)
        return frames, height, width
