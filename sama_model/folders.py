"""A diffusers-style folder, looked at before it is loaded: every tensor there, in its shape, and in which dtype.

diffusers and transformers fill what a file lacks with random numbers and warn. Here that is an error.

A network's digest is over its configuration (`begun_digest`) and then its tensors, the tokenizer's over its files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.encoders import PROMPT_PREFIX
from sama_model.errors import WeightsError
from sama_model.installed import LORA_FILE
from sama_model.tensorfiles import StoredTensor, open_files
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import TIED_EMBEDDING, add_to_digest, check_tensors, dtype_name
from sama_model.wording import first_sentence, listed

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

NETWORKS = ("transformer", "text_encoder", "vae")

STEMS = {"transformer": "diffusion_pytorch_model", "text_encoder": "model", "vae": "diffusion_pytorch_model"}
"""How diffusers and transformers call the files of each network."""


INDEX = "model_index.json"

BOOKKEEPING = ("_", "transformers_version")
"""What keys of a configuration begin with that say who wrote it, not what the network is."""


def check_folder(folder: Path, without: Collection[str] = ()) -> dict[str, torch.dtype]:
    """Hold the files of the networks against their configurations; the dtype of each network.

    Not looked at are those `without`, and those that `model_index.json` says the pipeline was saved without.

    Raises:
        WeightsError: no such folder, or one of a LoRA; a network or the tokenizer is not there, a network's files are
            not those of its index, its tensors are not all there in their shapes, or its dtypes are mixed.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder; give one of this machine, nothing is fetched from a hub")
    if (folder / LORA_FILE).is_file():
        raise WeightsError(
            f"{folder}: holds a LoRA and no networks; load the folder of the weights that it was put on, and then "
            f"{LORA_FILE} with load_lora_weights"
        )
    absent = {*without, *_left_out(folder)}
    if "tokenizer" not in absent:
        check_tokenizer(folder / "tokenizer")
    names = [name for name in NETWORKS if name not in absent]
    return {name: _dtype_of(name, check_network(folder / name)) for name in names}


def _left_out(folder: Path) -> set[str]:
    """Components that a pipeline was saved without."""
    path = folder / INDEX
    if not path.is_file():
        raise WeightsError(f"{path}: not there; it says which classes the networks are. Convert again")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {name for name, kind in index.items() if kind == [None, None]}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); convert again") from error


def check_tokenizer(folder: Path) -> None:
    """Refuse a folder without a whole tokenizer: diffusers would go on without one. Raises WeightsError."""
    if not (folder / "tokenizer_config.json").is_file():
        raise WeightsError(
            f"{folder}: no tokenizer_config.json, so no tokenizer; convert again, or load without one "
            "(tokenizer=None, text_encoder=None)"
        )
    read_tokenizer(folder)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder.

    Raises:
        WeightsError: its files cannot be read, or they know no words: where the vocabulary's file is missing,
            transformers makes an empty vocabulary, to which all prompts are alike.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder}: not a folder with a tokenizer's files, as tokenizer_config.json and tokenizer.json "
            f"({first_sentence(error)})"
        ) from error
    ids: list[int] = tokenizer(PROMPT_PREFIX)["input_ids"]
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        raise WeightsError(
            f"{folder}: the tokenizer does not know the words '{PROMPT_PREFIX}': the file of its vocabulary, as "
            "tokenizer.json or spiece.model, is missing or another model's; fetch google/umt5-xxl's again"
        )
    return tokenizer


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
    """The network that the folder's configuration describes, on the meta device. Raises WeightsError."""
    configuration(folder)
    kinds = {"transformer": SamaTransformer3DModel, "vae": AutoencoderKLWan}
    try:
        with init_empty_weights():
            if kind := kinds.get(folder.name):
                model: nn.Module = kind.from_config(kind.load_config(folder, local_files_only=True))
                return model
            text_encoder: nn.Module = UMT5EncoderModel(AutoConfig.from_pretrained(folder, local_files_only=True))
            return text_encoder
    except (OSError, ValueError, TypeError, ZeroDivisionError, AssertionError, StrictDataclassError) as error:
        raise WeightsError(f"{folder}: its configuration cannot be read ({error}); convert again") from error


def _dtype_of(name: str, tensors: Mapping[str, StoredTensor]) -> torch.dtype:
    kinds = {tensor.dtype for tensor in tensors.values()}
    if len(kinds) > 1:
        raise WeightsError(f"{name}: mixes {', '.join(sorted(map(dtype_name, kinds)))}; convert it to one dtype")
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


def describe(
    folder: Path, configs: Mapping[str, str] | None = None, verify: Mapping[str, str] | None = None
) -> tuple[Part, ...]:
    """The three networks of a folder, their configurations compared with `configs`, digests by network; with `verify`,
    digests by part, every file is read and compared.

    Raises:
        WeightsError: like `check_folder`, or a part with another digest.
    """
    check_tokenizer(folder / "tokenizer")
    if verify is not None:
        _compare(folder / "tokenizer", tokenizer_digest(folder / "tokenizer"), verify)
    _left_out(folder)
    check_configurations(folder, configs or {})
    parts = []
    for name in NETWORKS:
        tensors = check_network(folder / name)
        if verify is not None:
            _compare(folder / name, network_digest(folder / name, tensors), verify)
        parameters = sum(torch.Size(tensor.shape).numel() for tensor in tensors.values())
        kind = type(empty_network(folder / name)).__name__
        dtype = dtype_name(_dtype_of(name, tensors))
        parts.append(Part(name, kind, parameters, dtype, configuration(folder / name)))
    return tuple(parts)


def configuration(folder: Path) -> dict[str, object]:
    """What a network's `config.json` says of the network, sorted. Raises WeightsError."""
    path = folder / "config.json"
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")).items())
        return {key: config[key] for key in sorted(config) if not key.startswith(BOOKKEEPING)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); convert again") from error


# -- digests ----------------------------------------------------------------------------------------------------------


def check_configurations(folder: Path, configs: Mapping[str, str]) -> None:
    """Compare the networks' configurations with the card's digests of them. Raises WeightsError if one was changed.

    The tensors are only compared when that is asked for: it takes a minute for 28 GB.
    """
    for name, said in configs.items():
        if begun_digest(folder / name).hexdigest() != said:
            raise WeightsError(
                f"{folder / name / 'config.json'}: was changed since the weights were converted, so that they are "
                "others than their card says; put the file back, or convert again"
            )


def _compare(folder: Path, found: str, verify: Mapping[str, str]) -> None:
    said = verify.get(folder.name)
    if found != said:
        raise WeightsError(
            f"{folder}: digest {found}, the card says {said}: its files or its configuration were changed, or the card "
            "is of an older version; convert again"
        )


def begun_digest(folder: Path) -> Hash:
    """Of a network's configuration: its tensors come next, as `weights.add_to_digest` adds them. Raises WeightsError.

    Tensors of the same shapes are other weights with other heads, or with other statistics of the latents.
    """
    return hashlib.sha256(json.dumps(configuration(folder)).encode())


def tokenizer_digest(folder: Path) -> str:
    """Over the names, sizes and bytes of its files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(json.dumps([file.relative_to(folder).as_posix(), file.stat().st_size]).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def network_digest(folder: Path, tensors: Mapping[str, StoredTensor]) -> str:
    """Of a network as it lies there, with one tensor in memory at a time. Raises WeightsError."""
    digest = begun_digest(folder)
    for name in sorted(tensors):
        add_to_digest(digest, name, tensors[name].read())
    return digest.hexdigest()
