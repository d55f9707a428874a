"""Strict loading of the released files: every tensor by its official name, or a `WeightsError` that says what is wrong.

A file is compared with the key table of the network that it is said to hold: missing, unexpected and wrongly shaped
tensors are all listed, and nothing is loaded. Nothing is ever unpickled but tensors. `sama_model.keys` has the tables.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from sama_model.config import TextEncoderSizes, TransformerSizes, VaeSizes
from sama_model.keys import text_encoder_keys, transformer_keys, vae_keys
from sama_model.transformer import SamaTransformer3DModel

Tensors = Mapping[str, Tensor]

Network = TypeVar("Network", bound=nn.Module)

TIED_EMBEDDING = {"encoder.embed_tokens.weight": "shared.weight"}

WAN_HEAD_DIM = 128

LISTED = 8
"""Names written out a kind in an error; the count says how many more there are."""


class WeightsError(ValueError):
    """Model files that are missing, damaged, or of another model than they are said to be."""


# -- files ------------------------------------------------------------------------------------------------------------


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` or a `.pth` file, on the CPU, in the file's dtype.

    Raises:
        WeightsError: no such file, damaged, another suffix, or a pickle with more in it than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; give the path of a .safetensors or .pth file")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
    if path.suffix == ".pth":
        return _read_pickle(path)
    raise WeightsError(f"{path}: weights are read from .safetensors and .pth files, not from '{path.suffix}'")


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise WeightsError(f"{path}: not a whole file of plain tensors ({error}); fetch it again") from error
    strange = [] if not isinstance(content, dict) else [k for k, v in content.items() if not isinstance(v, Tensor)]
    if not isinstance(content, dict) or strange:
        raise WeightsError(f"{path}: holds more than named tensors ({_listed(map(str, strange))}); give the plain file")
    return content


def digest_of(tensors: Tensors) -> str:
    """sha256 over names, shapes, dtypes and bytes, in the order of the names; independent of the file's layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous().cpu()
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# -- networks ---------------------------------------------------------------------------------------------------------


def empty_transformer(sizes: TransformerSizes) -> SamaTransformer3DModel:
    """The network without memory for its parameters (meta device): to look at names and shapes, or to be filled."""
    with init_empty_weights():
        model: SamaTransformer3DModel = SamaTransformer3DModel.of(sizes)
        return model


def empty_vae(sizes: VaeSizes) -> AutoencoderKLWan:
    """The Wan 2.1 VAE on the meta device."""
    with init_empty_weights():
        return AutoencoderKLWan(
            base_dim=sizes.base_dim,
            z_dim=sizes.z_dim,
            dim_mult=list(sizes.dim_mult),
            num_res_blocks=sizes.num_res_blocks,
            temperal_downsample=list(sizes.temporal_downsample),
            scale_factor_spatial=sizes.spatial_factor,
        )


def empty_text_encoder(sizes: TextEncoderSizes) -> UMT5EncoderModel:
    """The umT5 encoder on the meta device."""
    config = UMT5Config(
        vocab_size=sizes.vocab,
        d_model=sizes.dim,
        d_kv=sizes.attention_dim // sizes.num_heads,
        d_ff=sizes.ffn_dim,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        relative_attention_num_buckets=sizes.num_buckets,
    )
    with init_empty_weights():
        return UMT5EncoderModel(config)


def load_transformer(tensors: Tensors, sizes: TransformerSizes, dtype: torch.dtype) -> SamaTransformer3DModel:
    """The SAMA transformer from tensors under their official names.

    Raises:
        WeightsError: a tensor is missing, unexpected, or of another shape than `sizes` asks for.
    """
    return _filled(empty_transformer(sizes), tensors, transformer_keys(sizes.num_layers), dtype)


def load_vae(tensors: Tensors, sizes: VaeSizes, dtype: torch.dtype) -> AutoencoderKLWan:
    """The Wan 2.1 VAE from tensors under their official names. Raises WeightsError like `load_transformer`."""
    return _filled(empty_vae(sizes), tensors, vae_keys(sizes), dtype)


def load_text_encoder(tensors: Tensors, sizes: TextEncoderSizes, dtype: torch.dtype) -> UMT5EncoderModel:
    """The umT5 encoder from tensors under their official names. Raises WeightsError like `load_transformer`."""
    keys = text_encoder_keys(sizes.num_layers)
    model = _filled(empty_text_encoder(sizes), tensors, keys, dtype, tied=TIED_EMBEDDING)
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


def _filled(
    model: Network, tensors: Tensors, keys: Mapping[str, str], dtype: torch.dtype, tied: Mapping[str, str] | None = None
) -> Network:
    """`model`, made on the meta device, with `tensors` in place of its parameters; `tied` names are second uses."""
    ours = model.state_dict()
    missing = [name for name in keys if name not in tensors]
    unexpected = [name for name in tensors if name not in keys]
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(ours[mine].shape)}"
        for name, mine in keys.items()
        if name in tensors and tensors[name].shape != ours[mine].shape
    ]
    if missing or unexpected or wrong:
        kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        problems = "; ".join(f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds if names)
        raise WeightsError(f"these weights are not those of {type(model).__name__}: {problems}")
    state = {mine: tensors[name].to(dtype) for name, mine in keys.items()}
    state |= {second: state[first] for second, first in (tied or {}).items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest


# -- sizes from shapes ------------------------------------------------------------------------------------------------


def transformer_sizes(tensors: Tensors, num_heads: int | None = None) -> TransformerSizes:
    """Sizes that the tensors' shapes tell. They do not tell the heads: without `num_heads`, 128 wide as in all of Wan.

    Raises:
        WeightsError: the tensors that tell the sizes are not there, or the width is not a whole number of heads.
    """
    dim, channels, *patch = _shape(tensors, "patch_embedding.weight")
    num_heads = num_heads or dim // WAN_HEAD_DIM
    if num_heads < 1 or dim % num_heads:
        raise WeightsError(f"a width of {dim} is not a whole number of heads ({num_heads} given or inferred)")
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


def text_encoder_sizes(tensors: Tensors) -> TextEncoderSizes:
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


def vae_sizes(tensors: Tensors) -> VaeSizes:
    """Sizes that the tensors' names and shapes tell. Raises WeightsError like `transformer_sizes`."""
    base = _shape(tensors, "encoder.conv1.weight")[0]
    layers = [f"encoder.downsamples.{i}." for i in range(_count(tensors, "encoder.downsamples."))]
    if not layers:
        raise WeightsError("no tensor 'encoder.downsamples.*': this is not a Wan VAE under its official names")
    resamples = [i for i, layer in enumerate(layers) if f"{layer}resample.1.weight" in tensors]
    per_stage = resamples[0] if resamples else len(layers)
    last_resnets = [i - 1 for i in [*resamples, len(layers)]]
    widths = [_shape(tensors, f"{layers[i]}residual.6.weight")[0] for i in last_resnets]
    return VaeSizes(
        base_dim=base,
        z_dim=_shape(tensors, "conv2.weight")[0],
        dim_mult=tuple(width // base for width in widths),
        num_res_blocks=per_stage,
        temporal_downsample=tuple(f"{layers[i]}time_conv.weight" in tensors for i in resamples),
    )


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"tensor '{name}' is missing: this is not a file of that network under its official names")
    return tuple(tensors[name].shape)


def _count(tensors: Tensors, prefix: str) -> int:
    """How many numbered modules lie under `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})
