"""LoRA files held against the network before they are loaded: another width or an unknown layer is an error."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sama_model.errors import WeightsError
from sama_model.tensorfiles import open_file
from sama_model.wording import counted, listed

log = logging.getLogger(__name__)

PREFIX = "transformer."

DIFFERENCE = re.compile(r".+\.diff(_b)?")
"""A whole weight's or bias's difference, which some files hold beside their low-rank factors."""

TAKEN = re.compile(
    r"(diffusion_model\.)?("
    r"(blocks\.\d+\.((self_attn|cross_attn)\.[qkvo]|ffn\.[02])|time_projection\.1|(text|time)_embedding\.[02])\.diff_b"
    r"|head\.head\.diff(_b)?)"
)
"""Those that diffusers adds; it drops the others without a word."""


def check_lora(state: Mapping[str, Tensor], transformer: nn.Module) -> None:
    """Hold a LoRA's tensors, under diffusers' names, against the layers that they are for.

    Raises:
        WeightsError: a layer is not there or has another width, its two factors are not there or of unequal rank, a
            tensor holds no finite numbers, or there is nothing to add at all; tensors are named.
    """
    _check_numbers(state)
    layers = {name: module for name, module in transformer.named_modules() if hasattr(module, "in_features")}
    unknown, wrong, ranks = [], [], defaultdict[str, dict[str, int]](dict)
    for name, tensor in state.items():
        layer, _, part = name.removeprefix(PREFIX).partition(".lora_")
        if layer not in layers:
            unknown.append(name)
        elif part.startswith(("A.", "B.")) and tensor.ndim == 2:
            found, expected = _widths(part, tensor, layers[layer])
            ranks[layer][part[0]] = sum(tensor.shape) - found
            if found != expected:
                wrong.append(f"{name} is {found} wide, the layer {expected}")
        elif part.startswith(("A.", "B.")) and tensor.shape != (layers[layer].out_features,):
            wrong.append(f"{name} is {tuple(tensor.shape)}, the layer {layers[layer].out_features} wide")
    if problems := counted({"for layers that are not there": unknown, "of another width": wrong}):
        raise WeightsError(f"this LoRA was made for another network than {type(transformer).__name__}: {problems}")
    if not ranks:
        raise WeightsError("this file holds no low-rank factors, so that nothing would be added: give a LoRA")
    _check_factors(ranks)


def _check_numbers(state: Mapping[str, Tensor]) -> None:
    """Integers need a scale that a LoRA does not bring; what is not finite spoils every picture."""
    broken = [name for name, tensor in state.items() if not (tensor.is_floating_point() and tensor.isfinite().all())]
    if broken:
        raise WeightsError(
            f"this LoRA holds {len(broken)} tensors that are not finite floating-point numbers: {listed(broken)}; "
            "fetch it again, or save it in floating point"
        )


def _check_factors(ranks: Mapping[str, Mapping[str, int]]) -> None:
    """Both factors of each layer, A (rank, in) and B (out, rank): peft stops halfway where they do not fit."""
    halves = [f"{layer}.lora_{'B' if 'A' in of else 'A'}" for layer, of in ranks.items() if len(of) < 2]
    unequal = [
        f"{layer} (A {of['A']}, B {of['B']})" for layer, of in ranks.items() if len(of) == 2 and of["A"] != of["B"]
    ]
    if problems := counted({"missing": halves, "factors of unequal rank": unequal}):
        raise WeightsError(f"this LoRA's file is not whole, {problems}; fetch it again")


def left_out(names: Collection[str]) -> tuple[str, ...]:
    """Differences in a LoRA's file, by their names there, that will not be added."""
    low_rank_time = any(re.search(r"time_projection.*\.weight$", name) for name in names)
    return tuple(
        name
        for name in names
        if DIFFERENCE.fullmatch(name)
        and not (TAKEN.fullmatch(name) and (low_rank_time or "time_projection" not in name))
    )


def warn_left_out(names: Collection[str]) -> None:
    """Name in the log what will not be added."""
    if left := left_out(names):
        log.warning(
            "%d tensors of this LoRA have no layer to be added to and are left out: %s", len(left), listed(left)
        )


def names_in(source: Any, options: Mapping[str, Any]) -> Collection[str]:
    """Names of the tensors of what `load_lora_weights` is given: tensors by name, or a file or folder of this machine.

    Raises:
        WeightsError: there is no such file, or it is damaged.
    """
    if isinstance(source, Mapping):
        return tuple(source)
    path = Path(source) / (options.get("subfolder") or "") / (options.get("weight_name") or "")
    if not path.exists():
        raise WeightsError(
            f"{path}: no such LoRA; give a file or folder of this machine, nothing is fetched from a hub"
        )
    return tuple(open_file(path)) if path.is_file() else ()


def _widths(part: str, tensor: Tensor, layer: nn.Module) -> tuple[int, int]:
    """The side of the factor that meets the layer, and the layer's own: A (rank, in), B (out, rank)."""
    if part.startswith("A."):
        return tensor.shape[1], int(layer.in_features)  # type: ignore[arg-type]
    return tensor.shape[0], int(layer.out_features)  # type: ignore[arg-type]
