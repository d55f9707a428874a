"""Files of tensors, opened without reading them: names, shapes and dtypes at once, each tensor when it is asked for."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sama_model.errors import WeightsError
from sama_model.wording import first_sentence, listed

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""What safetensors calls the dtypes that weights and recordings are in."""

SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that still lies in its file."""

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, on the CPU, in the file's dtype. Raises WeightsError like `open_files`."""
    return {name: stored.read() for name, stored in open_file(path).items()}


def open_files(paths: Sequence[Path]) -> dict[str, StoredTensor]:
    """The tensors of all `paths` by name.

    Raises:
        WeightsError: a file is missing, damaged, or holds other things than tensors; a set of numbered shards is not
            whole; two files hold the same tensor.
    """
    check_shards(paths)
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        found = open_file(path)
        if twice := [name for name in found if name in tensors]:
            raise WeightsError(
                f"{path}: {listed(twice)} stand in {tensors[twice[0]].path.name} already: one of the files has a wrong "
                "name or was given twice"
            )
        tensors |= found
    return tensors


def check_shards(paths: Sequence[Path]) -> None:
    """Refuse `...-00002-of-00006.safetensors` without its five siblings."""
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in paths:
        if match := SHARD.fullmatch(path.name):
            numbers[match["stem"], int(match["count"])].add(int(match["number"]))
    for (stem, count), there in numbers.items():
        if absent := sorted(set(range(1, count + 1)) - there):
            names = [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in absent]
            raise WeightsError(f"{len(there)} of {count} shards of {stem} were given, missing are {listed(names)}")


def open_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one `.safetensors` or `.pth` file. Raises WeightsError like `open_files`."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; give the path of a .safetensors or .pth file")
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    if path.suffix == ".pth":
        return _open_pickle(path)
    raise WeightsError(f"{path}: weights are read from .safetensors and .pth files, not from '{path.suffix}'")


def _open_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        file: Any = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({first_sentence(error)}); fetch it again") from error
    return {name: _in_safetensors(path, file, name) for name in file.keys()}  # noqa: SIM118 - the file is no dict


def _in_safetensors(path: Path, file: Any, name: str) -> StoredTensor:
    described = file.get_slice(name)
    kind = described.get_dtype()
    if kind not in DTYPES:
        raise WeightsError(f"{path}: tensor '{name}' is {kind}; known are {', '.join(DTYPES)}")
    return StoredTensor(path, tuple(described.get_shape()), DTYPES[kind], lambda: file.get_tensor(name))


def _open_pickle(path: Path) -> dict[str, StoredTensor]:
    """Only tensors are unpickled. A file in torch's zip format is mapped, so that its bytes are read when asked for."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise WeightsError(
            f"{path}: not a whole file of plain tensors ({first_sentence(error)}); fetch it again"
        ) from error
    strange = [] if not isinstance(content, dict) else [k for k, v in content.items() if not _is_plain(v)]
    if not isinstance(content, dict) or strange:
        raise WeightsError(f"{path}: holds more than named tensors ({listed(map(str, strange))}); give the plain file")
    return {name: _in_memory(path, tensor) for name, tensor in content.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _in_memory(path: Path, tensor: Tensor) -> StoredTensor:
    return StoredTensor(path, tuple(tensor.shape), tensor.dtype, lambda: tensor)
