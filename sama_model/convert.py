"""Released files into one folder that diffusers reads: model_index.json, sharded safetensors, the weights' card.

    SAMA's transformer (or Wan's shards and SAMA's over them), umT5 .pth, VAE .pth, tokenizer folder
      -> transformer/ text_encoder/ vae/ tokenizer/ model_index.json card.json

Tensor by tensor: never more in memory than one shard being written. Strict: nothing is written unless every tensor of
every network is there in its shape. The card is written last, so that a folder with a card is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from sama_model.cards import RELEASED
from sama_model.config import Needs, TransformerSizes, WeightsCard
from sama_model.errors import WeightsError
from sama_model.folders import STEMS, begun_digest, read_tokenizer, tokenizer_digest
from sama_model.installed import CARD_FILE, InstalledWeights, card_json, check_name, written_aside
from sama_model.keys import text_encoder_keys, transformer_keys, vae_keys
from sama_model.pipeline import SamaPipeline
from sama_model.sizes import text_encoder_sizes, transformer_sizes, vae_sizes
from sama_model.tensorfiles import StoredTensor, open_file, open_files
from sama_model.weights import (
    LatentStatistics,
    add_to_digest,
    check_tensors,
    dtype_name,
    empty_text_encoder,
    empty_transformer,
    empty_vae,
)
from sama_model.wording import listed

SHARD_BYTES = 4 * 2**30

STORED = (torch.bfloat16, torch.float16, torch.float32)
"""Dtypes that weights are in."""

Progress = Callable[[int, int], None]
"""Called with (bytes written, bytes in all)."""


@dataclass(frozen=True)
class Released:
    """Where the released files are."""

    transformer: Path
    """`sama_14b_ema.safetensors`."""
    text_encoder: Path
    """`models_t5_umt5-xxl-enc-bf16.pth`."""
    vae: Path
    """`Wan2.1_VAE.pth`."""
    tokenizer: Path
    """Folder of google/umt5-xxl's tokenizer."""
    base: tuple[Path, ...] = ()
    """Wan2.1-T2V-14B's shards, for a SAMA file that does not hold the whole transformer; SAMA's tensors win."""


@dataclass(frozen=True)
class Network:
    """One network on its way: our names, and where each tensor lies."""

    folder: str
    model: Any
    """On the meta device; diffusers' or transformers' own class."""
    tensors: Mapping[str, StoredTensor]
    """By our names."""
    stem: str
    """How diffusers or transformers call the file."""


def convert(
    released: Released,
    target: Path,
    card: WeightsCard = RELEASED,
    *,
    heads: int | None = None,
    dtype: torch.dtype | None = None,
    statistics: LatentStatistics | None = None,
    numerics: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda done, total: None,
) -> InstalledWeights:
    """Write the folder `target`; `card` says what is not in the files, its name must be the folder's.

    Tensors keep their dtype, which must then be one for each network; `dtype` casts all of them. `heads` is for
    networks whose heads are not 128 wide, `statistics` for a VAE that is not Wan's; `numerics` is the dtype that the
    transformer computes in, where that is not the files'.

    Raises:
        WeightsError: files or tensors that are missing, damaged or of another network; a folder that is there already;
            mixed dtypes and no `dtype`.
    """
    check_name(target.name)
    if target.exists():
        raise WeightsError(f"{target} is there already: remove it, or convert to another name")
    tokenizer = _tokenizer(released.tokenizer)
    networks = open_networks(released, heads, statistics)
    dtypes = {network.folder: _only_dtype(network, dtype) for network in networks}
    with written_aside(target) as aside:
        total = sum(_elements(network) * dtypes[network.folder].itemsize for network in networks)
        count = Counter(progress, total)
        parts = {
            network.folder: write_network(aside, network, dtypes[network.folder], shard_bytes, count)
            for network in networks
        }
        parts["tokenizer"] = _write_tokenizer(aside, tokenizer)
        _write_index(aside, tokenizer, networks)
        card = replace(card, name=target.name, needs=_needs(networks, dtypes))
        configs = {network.folder: begun_digest(aside / network.folder).hexdigest() for network in networks}
        installed = _installed(card, parts, configs, numerics or dtype_name(dtypes["transformer"]))
        (aside / CARD_FILE).write_bytes(card_json(installed))
    return installed


def open_networks(
    released: Released, heads: int | None, statistics: LatentStatistics | None = None
) -> tuple[Network, ...]:
    """The three networks, complete and of the right shapes, unread."""
    wan = open_files(released.base)
    official = wan | open_file(released.transformer)
    text, vae = open_file(released.text_encoder), open_file(released.vae)
    with _naming(released.transformer):
        sizes = transformer_sizes(official, heads)
        transformer = _network("transformer", empty_transformer(sizes), official, transformer_keys(sizes.num_layers))
    with _naming(released.text_encoder):
        text_of = text_encoder_sizes(text)
        encoder = _network("text_encoder", empty_text_encoder(text_of), text, text_encoder_keys(text_of.num_layers))
    with _naming(released.vae):
        vae_of = vae_sizes(vae)
        empty = empty_vae(vae_of)
        if statistics is not None:
            empty.register_to_config(latents_mean=list(statistics.mean), latents_std=list(statistics.std))
        return transformer, encoder, _network("vae", empty, vae, vae_keys(vae_of))


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error


def _network(folder: str, model: Any, official: Mapping[str, StoredTensor], keys: Mapping[str, str]) -> Network:
    check_tensors(model, official, keys)
    return Network(folder, model, {mine: official[name] for name, mine in keys.items()}, STEMS[folder])


def _only_dtype(network: Network, asked: torch.dtype | None) -> torch.dtype:
    """The dtype of all tensors: what they are stored in is kept, and never chosen silently."""
    if strange := [name for name, tensor in network.tensors.items() if tensor.dtype not in STORED]:
        said = ", ".join(sorted({dtype_name(network.tensors[name].dtype) for name in strange}))
        raise WeightsError(f"the {network.folder} has tensors in {said}, which weights are not in: {listed(strange)}")
    kinds: dict[torch.dtype, list[str]] = {}
    for name, tensor in network.tensors.items():
        kinds.setdefault(tensor.dtype, []).append(name)
    if len(kinds) > 1 and asked is None:
        counts = "; ".join(f"{len(names)} {dtype_name(kind)}: {listed(names)}" for kind, names in kinds.items())
        raise WeightsError(f"the {network.folder} mixes dtypes, say with --dtype which one to write: {counts}")
    return asked or next(iter(kinds))


def _elements(network: Network) -> int:
    return sum(torch.Size(tensor.shape).numel() for tensor in network.tensors.values())


# -- writing ----------------------------------------------------------------------------------------------------------


class Counter:
    """Adds up what was written, and says so."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def write_network(target: Path, network: Network, dtype: torch.dtype, shard_bytes: int, count: Counter) -> str:
    """Write one network's folder; its digest, as `folders.network_digest` finds it there."""
    folder = target / network.folder
    _save_config(network.model, folder, dtype)
    shards = list(packed(network.tensors, dtype.itemsize, shard_bytes))
    digest = begun_digest(folder)
    places: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        numbered = f"-{number:05}-of-{len(shards):05}" if len(shards) > 1 else ""
        file = f"{network.stem}{numbered}.safetensors"
        shard = {name: network.tensors[name].read().to(dtype).contiguous() for name in names}
        for name, tensor in shard.items():
            if not tensor.isfinite().all():
                raise WeightsError(f"{network.tensors[name].path}: {name} holds numbers that are not finite")
            add_to_digest(digest, name, tensor)
            places[name] = file
        save_file(shard, folder / file, metadata={"format": "pt"})
        count.add(sum(tensor.nbytes for tensor in shard.values()))
    if len(shards) > 1:
        index = {"metadata": {"total_size": _elements(network) * dtype.itemsize}, "weight_map": places}
        (folder / f"{network.stem}.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return digest.hexdigest()


def packed(tensors: Mapping[str, StoredTensor], itemsize: int, shard_bytes: int) -> Iterable[list[str]]:
    """Names in their order, cut into shards of at most `shard_bytes` (one tensor may be larger)."""
    shard: list[str] = []
    room = shard_bytes
    for name in sorted(tensors):
        size = torch.Size(tensors[name].shape).numel() * itemsize
        if shard and size > room:
            yield shard
            shard, room = [], shard_bytes
        shard.append(name)
        room -= size
    yield shard


def _save_config(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """As the two libraries do it; transformers keeps the dtype in the configuration."""
    if isinstance(model, ModelMixin):
        model.save_config(folder)
        return
    model.config.dtype = dtype
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; give the folder of the tokenizer google/umt5-xxl")
    return read_tokenizer(folder)


def _write_tokenizer(target: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """Save it; its digest."""
    folder = target / "tokenizer"
    tokenizer.save_pretrained(folder)
    return tokenizer_digest(folder)


def _write_index(target: Path, tokenizer: PreTrainedTokenizerBase, networks: Iterable[Network]) -> None:
    models = {network.folder: network.model for network in networks}
    SamaPipeline(tokenizer=tokenizer, **models).save_config(target)


def _needs(networks: Iterable[Network], dtypes: Mapping[str, torch.dtype]) -> Needs:
    """What predicts the device memory of an edit with these networks."""
    by_name = {network.folder: network for network in networks}
    config = by_name["transformer"].model.config
    return Needs(
        transformer=TransformerSizes(**{item.name: config[item.name] for item in fields(TransformerSizes)}),
        transformer_bytes=_elements(by_name["transformer"]) * dtypes["transformer"].itemsize,
        vae_bytes=_elements(by_name["vae"]) * dtypes["vae"].itemsize,
        vae_width=by_name["vae"].model.config.base_dim,
        itemsize=dtypes["transformer"].itemsize,
        vae_itemsize=dtypes["vae"].itemsize,
    )


def _installed(card: WeightsCard, parts: Mapping[str, str], configs: Mapping[str, str], dtype: str) -> InstalledWeights:
    digest = hashlib.sha256(json.dumps(dict(sorted(parts.items()))).encode()).hexdigest()
    return InstalledWeights(replace(card, digest=digest, numerics=dtype), dict(parts), dict(configs))
