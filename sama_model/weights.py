"""Strict loading of networks: every tensor by its official name, or a `WeightsError` that says what is wrong.

Tensors are compared with the key table of the network that they are said to be: missing, unexpected and wrongly shaped
ones are all listed, and nothing is loaded. `sama_model.keys` has the tables, `sama_model.tensorfiles` reads files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from sama_model.config import TextEncoderSizes, TransformerSizes, VaeSizes
from sama_model.errors import WeightsError
from sama_model.keys import sama_keys, text_encoder_keys, transformer_keys, vae_keys
from sama_model.transformer import SamaTransformer3DModel
from sama_model.wording import counted

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Tensors = Mapping[str, Tensor]


class Shaped(Protocol):
    """A tensor, in memory or still in its file."""

    @property
    def shape(self) -> Sequence[int]: ...


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class LatentStatistics:
    """Of a VAE's latent channels, before they are normalised. The released files do not hold theirs: diffusers does."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


TIED_EMBEDDING = {"encoder.embed_tokens.weight": "shared.weight"}


# -- digests ----------------------------------------------------------------------------------------------------------


def digest_of(tensors: Tensors) -> str:
    """sha256 over names, shapes, dtypes and bytes, in the order of the names; independent of the file's layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        add_to_digest(digest, name, tensors[name])
    return digest.hexdigest()


def add_to_digest(digest: Hash, name: str, tensor: Tensor) -> None:
    """One more tensor of a `digest_of`; whoever streams gives them in the order of their names."""
    tensor = tensor.detach().contiguous().cpu()
    digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)


# -- networks ---------------------------------------------------------------------------------------------------------


def empty_transformer(sizes: TransformerSizes) -> SamaTransformer3DModel:
    """The network without memory for its parameters (meta device): to look at names and shapes, or to be filled."""
    with init_empty_weights():
        model: SamaTransformer3DModel = SamaTransformer3DModel.of(sizes)
        return model


def new_vae(sizes: VaeSizes) -> AutoencoderKLWan:
    """The Wan 2.1 VAE with diffusers' default initialisation."""
    return AutoencoderKLWan(
        base_dim=sizes.base_dim,
        z_dim=sizes.z_dim,
        dim_mult=list(sizes.dim_mult),
        num_res_blocks=sizes.num_res_blocks,
        temperal_downsample=list(sizes.temporal_downsample),
        scale_factor_spatial=sizes.spatial_factor,
    )


def empty_vae(sizes: VaeSizes) -> AutoencoderKLWan:
    """The Wan 2.1 VAE on the meta device."""
    with init_empty_weights():
        return new_vae(sizes)


def new_text_encoder(sizes: TextEncoderSizes) -> UMT5EncoderModel:
    """The umT5 encoder with transformers' default initialisation."""
    config = UMT5Config(
        vocab_size=sizes.vocab,
        d_model=sizes.dim,
        d_kv=sizes.attention_dim // sizes.num_heads,
        d_ff=sizes.ffn_dim,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        relative_attention_num_buckets=sizes.num_buckets,
    )
    return UMT5EncoderModel(config)


def empty_text_encoder(sizes: TextEncoderSizes) -> UMT5EncoderModel:
    """The umT5 encoder on the meta device."""
    with init_empty_weights():
        return new_text_encoder(sizes)


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


def check_tensors(model: nn.Module, tensors: Mapping[str, Shaped], keys: Mapping[str, str]) -> None:
    """Hold `tensors` against the parameters of `model`, which `keys` maps them to.

    Raises:
        WeightsError: some are missing, unexpected or of another shape; all of them are listed.
    """
    ours = model.state_dict()
    missing = [name for name in keys if name not in tensors]
    unexpected = [name for name in tensors if name not in keys]
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(ours[mine].shape)}"
        for name, mine in keys.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(ours[mine].shape)
    ]
    problems = counted({"missing": missing, "unexpected": unexpected, "wrong shape": wrong})
    if not problems:
        return
    only_wan = set(missing) == set(sama_keys()) and not (unexpected or wrong)
    remedy = ": plain Wan, without what SAMA adds; give sama_14b_ema.safetensors too" if only_wan else ""
    raise WeightsError(f"these weights are not those of {type(model).__name__}: {problems}{remedy}")


def _filled(
    model: Network, tensors: Tensors, keys: Mapping[str, str], dtype: torch.dtype, tied: Mapping[str, str] | None = None
) -> Network:
    """`model`, made on the meta device, with `tensors` in place of its parameters; `tied` names are second uses."""
    check_tensors(model, tensors, keys)
    state = {mine: tensors[name].to(dtype) for name, mine in keys.items()}
    state |= {second: state[first] for second, first in (tied or {}).items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def dtype_name(dtype: torch.dtype) -> str:
    """`bfloat16`, as `--dtype` takes it."""
    return str(dtype).removeprefix("torch.")
