"""Sizes of the networks, told by the shapes of their tensors under the official names."""

from __future__ import annotations

from collections.abc import Mapping

from sama_model.config import TextEncoderSizes, TransformerSizes, VaeSizes
from sama_model.errors import WeightsError
from sama_model.keys import sama_keys
from sama_model.weights import Shaped
from sama_model.wording import listed

WAN_HEAD_DIM = 128


Shapes = Mapping[str, Shaped]


def transformer_sizes(tensors: Shapes, num_heads: int | None = None) -> TransformerSizes:
    """Sizes that the tensors' shapes tell. They do not tell the heads: without `num_heads`, 128 wide as in all of Wan.

    Raises:
        WeightsError: tensors that tell the sizes, or that SAMA adds to Wan, are not there, or the width is not a whole
            number of heads.
    """
    _check_not_alone(tensors)
    dim, channels, *patch = _shape(tensors, "patch_embedding.weight", 5)
    num_heads = _heads(dim, num_heads)
    _check_samas_own(tensors)
    hidden, features = _shape(tensors, "siglip_feat_mlp.fc1.weight")
    return TransformerSizes(
        num_heads=num_heads,
        head_dim=dim // num_heads,
        ffn_dim=_shape(tensors, "blocks.0.ffn.0.weight")[0],
        num_layers=_count(tensors, "blocks."),
        text_dim=_shape(tensors, "text_embedding.0.weight")[1],
        freq_dim=_shape(tensors, "time_embedding.0.weight")[1],
        latent_channels=channels,
        patch_size=(patch[0], patch[1], patch[2]),
        semantic_dim=features,
        semantic_hidden=hidden,
    )


def _heads(dim: int, given: int | None) -> int:
    if given is None and dim % WAN_HEAD_DIM:
        raise WeightsError(f"{dim} wide, which is no multiple of {WAN_HEAD_DIM}, a head's width in Wan: give --heads")
    if given is not None and (given < 1 or dim % given or dim // given % 2):
        raise WeightsError(
            f"{dim} wide, which {given} heads do not divide into even widths: give another number with --heads"
        )
    return given or dim // WAN_HEAD_DIM


def _check_not_alone(tensors: Shapes) -> None:
    own = sama_keys()
    if set(tensors) == set(own):
        raise WeightsError(
            f"holds the {len(own)} tensors that SAMA adds to Wan and nothing of Wan: give each of Wan2.1-T2V-14B's "
            "shards with --wan"
        )


def _check_samas_own(tensors: Shapes) -> None:
    own = sama_keys()
    missing = [name for name in own if name not in tensors]
    if missing:
        remedy = "fetch the file again" if len(missing) < len(own) else "this is plain Wan; give SAMA's own file too"
        raise WeightsError(
            f"{len(missing)} of the {len(own)} tensors that SAMA adds to Wan are missing ({listed(missing)}): {remedy}"
        )


def text_encoder_sizes(tensors: Shapes) -> TextEncoderSizes:
    """Sizes that the tensors' shapes tell. Raises WeightsError like `transformer_sizes`."""
    vocab, dim = _shape(tensors, "token_embedding.weight")
    buckets, heads = _shape(tensors, "blocks.0.pos_embedding.embedding.weight")
    return TextEncoderSizes(
        vocab=vocab,
        dim=dim,
        attention_dim=_shape(tensors, "blocks.0.attn.q.weight")[0],
        ffn_dim=_shape(tensors, "blocks.0.ffn.fc1.weight")[0],
        num_heads=heads,
        num_layers=_count(tensors, "blocks."),
        num_buckets=buckets,
    )


def vae_sizes(tensors: Shapes) -> VaeSizes:
    """Sizes that the tensors' names and shapes tell. Raises WeightsError like `transformer_sizes`."""
    base = _shape(tensors, "encoder.conv1.weight", 5)[0]
    layers = [f"encoder.downsamples.{i}." for i in range(_count(tensors, "encoder.downsamples."))]
    if not layers:
        raise WeightsError("no tensor 'encoder.downsamples.*': this is not a Wan VAE under its official names")
    resamples = [i for i, layer in enumerate(layers) if f"{layer}resample.1.weight" in tensors]
    per_stage = resamples[0] if resamples else len(layers)
    widths = [_shape(tensors, f"{layers[i]}resample.1.weight", 4)[0] for i in resamples]
    widths.append(_shape(tensors, "encoder.head.2.weight", 5)[1])  # the last stage halves nothing
    return VaeSizes(
        base_dim=base,
        z_dim=_shape(tensors, "conv2.weight", 5)[0],
        dim_mult=tuple(width // base for width in widths),
        num_res_blocks=per_stage,
        temporal_downsample=tuple(f"{layers[i]}time_conv.weight" in tensors for i in resamples),
    )


def _shape(tensors: Shapes, name: str, sides: int = 2) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"tensor '{name}' is missing: this is not a file of that network under its official names")
    shape = tuple(tensors[name].shape)
    if len(shape) != sides:
        raise WeightsError(f"tensor '{name}' is {shape}: a tensor of {sides} sides has that name in that network")
    return shape


def _count(tensors: Shapes, prefix: str) -> int:
    """How many numbered modules lie under `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})
