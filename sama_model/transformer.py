"""The SAMA transformer on diffusers' Wan blocks (models.md 1.1 step G).

video     x   (1, C, t, h, w)    noisy latents of the edit        -> N target tokens
source    s   (1, C, t, h, w)    latents of the source            -> N source tokens
semantic  m   (1, 65, 1152)      noisy semantic tokens            -> 65 tokens
context   c   (B, 512, text)     B texts about one clip, padded rows included
timestep  t   (1,)               one for all tokens, source included
sequence      (B, N + 65 + N, dim)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanRotaryPosEmbed,
    WanTimeTextImageEmbedding,
)
from safetensors import safe_open
from torch import Tensor, nn

from sama_model.backends import HUB
from sama_model.backends import backend as find_backend
from sama_model.block import SamaTransformerBlock
from sama_model.config import TransformerSizes
from sama_model.errors import WeightsError
from sama_model.layers import TimestepSinusoid
from sama_model.reuse import NOTHING, Memory, Reuse, check
from sama_model.rows import Rows, share_of
from sama_model.semantic import SemanticHead, SigLIPFeatMLP
from sama_model.text import BlockText, TextRows, of_branches, text_keys, without_padding
from sama_model.tokens import CONDITION, SEMANTIC, TARGET, Joint, Rotary, TokenLayout, joint_rotary, unpatchify
from sama_model.wording import counted

MAX_POSITIONS = 1024

Text = tuple[BlockText, ...]
"""By block: the embedded contexts, or their keys and values."""


@dataclass(frozen=True)
class Clip:
    """What depends on the source alone."""

    source: Tensor
    """(1, N, dim) tokens of the source, with their type."""
    types: Tensor
    """(3, dim) type embeddings."""
    layout: TokenLayout
    rotary: Rotary
    """Of the whole sequence."""


@dataclass(frozen=True)
class Time:
    """What depends on the timestep alone."""

    embedding: Tensor
    """(S, dim)."""
    modulation: Tensor
    """(S, 6, dim), to which each block adds its own."""


class SamaTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):  # type: ignore[misc]
    """Predicts the velocity (noise - data) of the edit's latents and of its semantic tokens.

    Parameter names are diffusers' for the Wan part and the released file's for the rest: `sama_model.weights` maps.
    """

    row_group: dist.ProcessGroup | None = None
    """Processes that the sequence's rows are dealt to; None: this one has all of them."""

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["SamaTransformerBlock"]
    _repeated_blocks: ClassVar = ["SamaTransformerBlock"]
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
        self.blocks = nn.ModuleList(SamaTransformerBlock(dim, ffn_dim, num_heads, eps) for _ in range(num_layers))
        self.semantic_head = SemanticHead(dim, semantic_dim)
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, latent_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.gradient_checkpointing = False

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As diffusers', but that a tensor that is missing or unexpected is an error instead of random numbers, and
        without `dtype` the files' own is kept instead of cast to float32.

        Raises:
            WeightsError: some are; they are named.
        """
        wanted = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("use_safetensors", True)
        if "dtype" not in kwargs and "torch_dtype" not in kwargs:
            kwargs["dtype"] = stored_dtype(Path(pretrained_model_name_or_path) / (kwargs.get("subfolder") or ""))
        model, info = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        if problems := counted({"missing": info["missing_keys"], "unexpected": info["unexpected_keys"]}):
            raise WeightsError(f"{pretrained_model_name_or_path}: not the weights of {cls.__name__}: {problems}")
        return (model, info) if wanted else model

    def set_attention_backend(self, backend: str) -> None:
        """diffusers' switch, which also knows the names in `backends.OWN`, and switches this network alone.

        Raises:
            BackendError: an unknown name, or one that cannot be used here.
        """
        chosen = find_backend(backend)
        if HUB in backend:
            super().set_attention_backend(backend)  # fetches it
            return
        for module in self.modules():
            if hasattr(getattr(module, "processor", None), "_attention_backend"):
                module.processor._attention_backend = chosen

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
        memory: Memory | None = None,
    ) -> Joint:
        """Velocity of the video latents and of the semantic tokens, for every row of the text.

        Args: hidden_states and source_states (1, C, t, h, w), semantic_states (1, 65, 1152), timestep (1,) in 0..1000,
        encoder_hidden_states (B, 512, text_dim): B texts about one picture, the guidance branches. `memory` holds what
        earlier forwards of the same clip computed; without it everything is computed, and nothing left out.

        Raises:
            ValueError: source and target differ in shape, or their sides are not whole patches.
            CombinationError: a saving for which a process must have all rows, where they are dealt.
        """
        memory = memory or Memory(NOTHING)
        check(memory.reuse, () if self.row_group is None else ("context_parallel",))
        grid = self.patch_grid(hidden_states, source_states)
        clip = memory.once("source", lambda: self.clip_of(source_states, semantic_states.shape[1]))
        text = memory.once("text", lambda: self.text_of(encoder_hidden_states, memory.reuse))
        time = self.time_at(timestep, memory)

        target = self.patches(hidden_states) + clip.types[TARGET]
        semantic = self.siglip_feat_mlp(semantic_states) + clip.types[SEMANTIC]
        x = torch.cat([clip.source, semantic, target], dim=1)
        x = self.run_blocks(x, text, time, clip, encoder_hidden_states.shape[0], memory.reuse)

        target_rows = clip.layout.target_rows
        velocity = self.video_head(x[:, target_rows] if memory.reuse.head else x, time)[:, target_rows]
        return Joint(
            video=unpatchify(velocity, grid, self.config.patch_size),
            semantic=self.semantic_head(x[:, clip.layout.semantic_rows]),
        )

    def run_blocks(self, x: Tensor, text: Text, time: Time, clip: Clip, branches: int, reuse: Reuse) -> Tensor:
        """All blocks, full attention over the whole sequence: (1, N, dim) -> (branches, N or fewer, dim).

        The branches are one until text comes in, in block 0. The last block may leave the source's rows out. Where the
        rows are dealt to processes, each computes its own and all have all of them at the end.
        """
        if not reuse.shared_first:
            x = x.expand(branches, -1, -1)
        layout, rotary = clip.layout, clip.rotary
        share = None if self.row_group is None else share_of(self.row_group, x.shape[1])
        if share is not None:
            x, rotary = share.mine(x), (share.mine(rotary[0]), share.mine(rotary[1]))
        semantic = (layout.source, layout.source + layout.semantic) if reuse.semantic_mean else None
        for i, block in enumerate(self.blocks):
            last = reuse.pruned_last and i == len(self.blocks) - 1
            rows = Rows(layout.source if last else 0, semantic, share)
            given = (x, of_branches(text[i], branches), time.modulation, rotary, rows)
            again = self.gradient_checkpointing and torch.is_grad_enabled()
            x = self._gradient_checkpointing_func(block, *given) if again else block(*given)
        return x if share is None else share.whole(x)

    # -- what forwards of one clip share ------------------------------------------------------------------------------

    def clip_of(self, source_states: Tensor, semantic: int) -> Clip:
        """What depends on the source alone, beside `semantic` semantic tokens."""
        # called, not read: where layers are offloaded one by one, a layer has its weights while it is called
        types = self.segment_embedding(torch.arange(TARGET + 1, device=source_states.device))
        source = self.patches(source_states) + types[CONDITION]
        layout = TokenLayout(source.shape[1], semantic, source.shape[1])
        return Clip(source, types, layout, joint_rotary(self.rope(source_states), semantic))

    def text_of(self, contexts: Tensor, reuse: Reuse) -> Text:
        """(B, 512, text_dim) for each block: embedded, and with the saving `text` made keys and values there."""
        given = without_padding(contexts) if reuse.padding else TextRows(contexts)
        embedded = TextRows(self.condition_embedder.text_embedder(given.rows), given.bias)
        if not reuse.text:
            return (embedded,) * len(self.blocks)
        return tuple(text_keys(block.attn2, embedded) for block in self.blocks)

    def time_at(self, timestep: Tensor, memory: Memory) -> Time:
        """Embedding and modulation at `timestep` (1,), taken from those of the whole run if they are known."""
        run = memory.timesteps
        if run is None or not memory.reuse.times:
            return self.times_of(timestep)
        every = memory.once("times", lambda: self.times_of(run))
        i = run.tolist().index(timestep.item())
        return Time(every.embedding[i : i + 1], every.modulation[i : i + 1])

    def times_of(self, timesteps: Tensor) -> Time:
        """Of (S,) timesteps; one for all tokens, source included."""
        embedder = self.condition_embedder
        sinusoid = embedder.timesteps_proj(timesteps.to(self.scale_shift_table.device))
        embedding = embedder.time_embedder(sinusoid.to(embedder.time_embedder.linear_1.bias.dtype))
        modulation = embedder.time_proj(embedder.act_fn(embedding))
        return Time(embedding, modulation.unflatten(1, (6, -1)))

    # -- ends ---------------------------------------------------------------------------------------------------------

    def patches(self, latents: Tensor) -> Tensor:
        """(B, C, t, h, w) -> (B, N, dim): one convolution for source and target alike."""
        return self.patch_embedding(latents).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def video_head(self, x: Tensor, time: Time) -> Tensor:
        """(B, n, dim) hidden states -> (B, n, C*p) patches of the velocity."""
        shift, scale = (self.scale_shift_table + time.embedding[:, None]).chunk(2, dim=1)
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


def stored_dtype(folder: Path) -> torch.dtype | None:
    """Of the first tensor of the files there; None if there are none, which loading says better."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file is no dict
                dtype: torch.dtype = file.get_tensor(name).dtype
                return dtype
    return None
