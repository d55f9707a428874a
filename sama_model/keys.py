"""The written key tables: the released files' tensor names, and where each goes in the modules of this package.

rows are (official module, our module, parameters); a table is expanded into one full name a tensor, so that a file
can be compared name by name. Sources: models.md 5.5 (transformer), 5.6 (VAE), 5.7 (text encoder), 1.1 (SAMA's 11).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sama_model.config import VaeSizes

Row = tuple[str, str, tuple[str, ...]]
BOTH = ("weight", "bias")
WEIGHT = ("weight",)

TRANSFORMER: tuple[Row, ...] = (
    ("patch_embedding", "patch_embedding", BOTH),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1", BOTH),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2", BOTH),
    ("time_projection.1", "condition_embedder.time_proj", BOTH),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1", BOTH),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2", BOTH),
    ("head.head", "proj_out", BOTH),
)
"""Wan's, outside the blocks. `head.modulation`, a bare tensor, is added by `transformer_keys`."""

SAMA: tuple[Row, ...] = (
    ("segment_embedding", "segment_embedding", WEIGHT),
    ("siglip_feat_mlp.norm", "siglip_feat_mlp.norm", BOTH),
    ("siglip_feat_mlp.fc1", "siglip_feat_mlp.fc1", BOTH),
    ("siglip_feat_mlp.fc2", "siglip_feat_mlp.fc2", BOTH),
    ("semantic_head.norm", "semantic_head.norm", BOTH),
    ("semantic_head.proj", "semantic_head.proj", BOTH),
)
"""The 11 tensors that SAMA adds."""

BLOCK: tuple[Row, ...] = (
    ("self_attn.q", "attn1.to_q", BOTH),
    ("self_attn.k", "attn1.to_k", BOTH),
    ("self_attn.v", "attn1.to_v", BOTH),
    ("self_attn.o", "attn1.to_out.0", BOTH),
    ("self_attn.norm_q", "attn1.norm_q", WEIGHT),
    ("self_attn.norm_k", "attn1.norm_k", WEIGHT),
    ("cross_attn.q", "attn2.to_q", BOTH),
    ("cross_attn.k", "attn2.to_k", BOTH),
    ("cross_attn.v", "attn2.to_v", BOTH),
    ("cross_attn.o", "attn2.to_out.0", BOTH),
    ("cross_attn.norm_q", "attn2.norm_q", WEIGHT),
    ("cross_attn.norm_k", "attn2.norm_k", WEIGHT),
    ("norm3", "norm2", BOTH),  # the official norm1 and norm2 have no weights: only the third's name is taken
    ("ffn.0", "ffn.net.0.proj", BOTH),
    ("ffn.2", "ffn.net.2", BOTH),
)
"""Inside block i: official `blocks.i.*`, ours `blocks.i.*`. `modulation` is added by `transformer_keys`."""

TEXT_LAYER: tuple[Row, ...] = (
    ("norm1", "layer.0.layer_norm", WEIGHT),
    ("attn.q", "layer.0.SelfAttention.q", WEIGHT),
    ("attn.k", "layer.0.SelfAttention.k", WEIGHT),
    ("attn.v", "layer.0.SelfAttention.v", WEIGHT),
    ("attn.o", "layer.0.SelfAttention.o", WEIGHT),
    ("pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias", WEIGHT),
    ("norm2", "layer.1.layer_norm", WEIGHT),
    ("ffn.gate.0", "layer.1.DenseReluDense.wi_0", WEIGHT),
    ("ffn.fc1", "layer.1.DenseReluDense.wi_1", WEIGHT),
    ("ffn.fc2", "layer.1.DenseReluDense.wo", WEIGHT),
)
"""Inside layer i: official `blocks.i.*`, ours `encoder.block.i.*`."""

VAE_RESNET: tuple[Row, ...] = (
    ("residual.0", "norm1", ("gamma",)),
    ("residual.2", "conv1", BOTH),
    ("residual.3", "norm2", ("gamma",)),
    ("residual.6", "conv2", BOTH),
)

VAE_ATTENTION: tuple[Row, ...] = (
    ("norm", "norm", ("gamma",)),
    ("to_qkv", "to_qkv", BOTH),
    ("proj", "proj", BOTH),
)


def transformer_keys(num_layers: int) -> dict[str, str]:
    """Official name -> name in `SamaTransformer3DModel`, every tensor of a network of `num_layers` blocks."""
    keys = dict(_expand(TRANSFORMER)) | {"head.modulation": "scale_shift_table"} | sama_keys()
    for i in range(num_layers):
        keys |= dict(_expand(BLOCK, f"blocks.{i}.", f"blocks.{i}."))
        keys[f"blocks.{i}.modulation"] = f"blocks.{i}.scale_shift_table"
    return keys


def sama_keys() -> dict[str, str]:
    """Official name -> name in `SamaTransformer3DModel` of what plain Wan weights do not have."""
    return dict(_expand(SAMA))


def text_encoder_keys(num_layers: int) -> dict[str, str]:
    """Official name -> name in transformers' `UMT5EncoderModel`, whose embedding is tied to `shared`."""
    keys = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}
    for i in range(num_layers):
        keys |= dict(_expand(TEXT_LAYER, f"blocks.{i}.", f"encoder.block.{i}."))
    return keys


def vae_keys(sizes: VaeSizes) -> dict[str, str]:
    """Official name -> name in diffusers' `AutoencoderKLWan`."""
    keys = dict(_expand((("conv1", "quant_conv", BOTH), ("conv2", "post_quant_conv", BOTH))))
    for half in ("encoder", "decoder"):
        keys |= dict(_vae_ends(half))
    return keys | dict(_vae_down(sizes)) | dict(_vae_up(sizes))


def _expand(rows: tuple[Row, ...], official: str = "", ours: str = "") -> Iterator[tuple[str, str]]:
    for theirs, mine, parameters in rows:
        for parameter in parameters:
            yield f"{official}{theirs}.{parameter}", f"{ours}{mine}.{parameter}"


def _vae_ends(half: str) -> Iterator[tuple[str, str]]:
    """First convolution, middle block and head, alike in both halves."""
    yield from _expand((("conv1", "conv_in", BOTH), ("head.2", "conv_out", BOTH)), f"{half}.", f"{half}.")
    yield f"{half}.head.0.gamma", f"{half}.norm_out.gamma"
    yield from _expand(VAE_RESNET, f"{half}.middle.0.", f"{half}.mid_block.resnets.0.")
    yield from _expand(VAE_ATTENTION, f"{half}.middle.1.", f"{half}.mid_block.attentions.0.")
    yield from _expand(VAE_RESNET, f"{half}.middle.2.", f"{half}.mid_block.resnets.1.")


def _vae_down(sizes: VaeSizes) -> Iterator[tuple[str, str]]:
    """The encoder's stages: one flat list in both layouts."""
    widths = [sizes.base_dim * m for m in (1, *sizes.dim_mult)]
    number = 0
    for stage, (before, after) in enumerate(pairwise(widths)):
        for resnet in range(sizes.num_res_blocks):
            here = (f"encoder.downsamples.{number}.", f"encoder.down_blocks.{number}.")
            yield from _vae_resnet(*here, shortcut=resnet == 0 and before != after)
            number += 1
        if stage < len(sizes.temporal_downsample):
            here = (f"encoder.downsamples.{number}.", f"encoder.down_blocks.{number}.")
            yield from _vae_resample(*here, time=sizes.temporal_downsample[stage])
            number += 1


def _vae_up(sizes: VaeSizes) -> Iterator[tuple[str, str]]:
    """The decoder's stages: a flat list officially, blocks of resnets and an upsampler in diffusers.

    An upsampler halves the width, so a stage begins with half of what the one before ended with.
    """
    widths = [sizes.base_dim * m for m in (sizes.dim_mult[-1], *sizes.dim_mult[::-1])]
    times = sizes.temporal_downsample[::-1]
    number = 0
    for stage, (before, after) in enumerate(pairwise(widths)):
        entering = before if stage == 0 else before // 2
        for resnet in range(sizes.num_res_blocks + 1):
            here = (f"decoder.upsamples.{number}.", f"decoder.up_blocks.{stage}.resnets.{resnet}.")
            yield from _vae_resnet(*here, shortcut=resnet == 0 and entering != after)
            number += 1
        if stage < len(times):
            here = (f"decoder.upsamples.{number}.", f"decoder.up_blocks.{stage}.upsamplers.0.")
            yield from _vae_resample(*here, time=times[stage])
            number += 1


def _vae_resnet(official: str, ours: str, *, shortcut: bool) -> Iterator[tuple[str, str]]:
    yield from _expand(VAE_RESNET, official, ours)
    if shortcut:
        yield from _expand((("shortcut", "conv_shortcut", BOTH),), official, ours)


def _vae_resample(official: str, ours: str, *, time: bool) -> Iterator[tuple[str, str]]:
    yield from _expand((("resample.1", "resample.1", BOTH),), official, ours)
    if time:
        yield from _expand((("time_conv", "time_conv", BOTH),), official, ours)
