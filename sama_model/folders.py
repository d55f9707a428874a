"""A diffusers-style folder, looked at before it is loaded: every tensor there, in its shape, and in which dtype.

diffusers and transformers fill what a file lacks with random numbers and warn. Here that is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import AutoConfig, UMT5EncoderModel

from sama_model.errors import WeightsError
from sama_model.tensorfiles import StoredTensor, open_files
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import TIED_EMBEDDING, add_to_digest, check_tensors, listed

NETWORKS = ("transformer", "text_encoder", "vae")

STEMS = {"transformer": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"}
"""How diffusers and transformers call the files of each network."""


def check_folder(folder: Path, without: Collection[str] = ()) -> dict[str, torch.dtype]:
    """Hold the files of the networks against their configurations; the dtype of each network.

    Not looked at are those `without`, and those that `model_index.json` says the pipeline was saved without.

    Raises:
        WeightsError: a network is not there, its files are not those of its index, its tensors are not all there in
            their shapes, or its dtypes are mixed.
    """
    names = [name for name in NETWORKS if name not in without and name not in _left_out(folder)]
    return {name: _dtype_of(name, check_network(folder / name)) for name in names}


def _left_out(folder: Path) -> set[str]:
    """Components that a pipeline was saved without."""
    path = folder / "model_index.json"
    if not path.is_file():
        return set()
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {name for name, kind in index.items() if kind == [None, None]}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); convert again") from error


def check_network(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of one network, known to be all of them. Raises WeightsError like `check_folder`."""
    files = network_files(folder)
    model, tensors = empty_network(folder), open_files(files)
    names = {name: name for name in model.state_dict() if name not in TIED_EMBEDDING}
    try:
        check_tensors(model, tensors, names)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from error
    return tensors


def network_files(folder: Path) -> list[Path]:
    """The files of one network under the names by which they are loaded. Raises WeightsError like `check_folder`."""
    there = {path.name for path in folder.glob("*.safetensors")}
    if not there:
        raise WeightsError(f"{folder}: no safetensors files; is this a folder that 'samaflow model convert' wrote?")
    whole = f"{STEMS[folder.name]}.safetensors"
    path = folder / f"{whole}.index.json"
    try:
        named = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()) if path.is_file() else {whole}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: not an index of files ({error}); convert again") from error
    if named != there:
        sides = (("is missing", named - there), ("belongs to no network", there - named))
        problems = "; ".join(f"{listed(names)} {problem}" for problem, names in sides if names)
        raise WeightsError(f"{folder}: {problems}: give the files their names back, or convert again")
    return [folder / name for name in sorted(named)]


def empty_network(folder: Path) -> nn.Module:
    """The network that the folder's configuration describes, on the meta device."""
    kinds = {"transformer": SamaTransformer3DModel, "vae": AutoencoderKLWan}
    try:
        with init_empty_weights():
            if kind := kinds.get(folder.name):
                model: nn.Module = kind.from_config(kind.load_config(folder, local_files_only=True))
                return model
            text_encoder: nn.Module = UMT5EncoderModel(AutoConfig.from_pretrained(folder, local_files_only=True))
            return text_encoder
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: its configuration cannot be read ({error}); convert again") from error


def _dtype_of(name: str, tensors: Mapping[str, StoredTensor]) -> torch.dtype:
    kinds = {tensor.dtype for tensor in tensors.values()}
    if len(kinds) > 1:
        raise WeightsError(f"{name}: mixes {', '.join(sorted(map(str, kinds)))}; convert it to one dtype")
    return kinds.pop()


# -- looking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One network of a folder, as it is described to people."""

    name: str
    kind: str
    parameters: int
    dtype: str
    config: dict[str, object]


def describe(folder: Path, verify: Mapping[str, str] | None = None) -> tuple[Part, ...]:
    """The three networks of a folder; with `verify`, digests by network, every tensor is read and compared.

    Raises:
        WeightsError: like `check_folder`, or a network whose tensors have another digest.
    """
    parts = []
    for name in NETWORKS:
        tensors = check_network(folder / name)
        if verify is not None and (found := _digest(tensors)) != verify.get(name):
            raise WeightsError(f"{folder / name}: digest {found}, the card says {verify.get(name)}; convert again")
        config = json.loads((folder / name / "config.json").read_text(encoding="utf-8"))
        plain = {key: value for key, value in config.items() if not key.startswith("_")}
        parameters = sum(torch.Size(tensor.shape).numel() for tensor in tensors.values())
        kind = type(empty_network(folder / name)).__name__
        parts.append(Part(name, kind, parameters, str(_dtype_of(name, tensors)).removeprefix("torch."), plain))
    return tuple(parts)


def _digest(tensors: Mapping[str, StoredTensor]) -> str:
    """`weights.digest_of`, with one tensor in memory at a time."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        add_to_digest(digest, name, tensors[name].read())
    return digest.hexdigest()
