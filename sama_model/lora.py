"""LoRA files held against the network before they are loaded: another width or an unknown layer is an error."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sama_model.errors import WeightsError
from sama_model.weights import listed

PREFIX = "transformer."


def check_lora(state: Mapping[str, Tensor], transformer: nn.Module) -> None:
    """Hold a LoRA's tensors, under diffusers' names, against the layers that they are for.

    Raises:
        WeightsError: a layer is not there or has another width; tensors are named.
    """
    layers = {name: module for name, module in transformer.named_modules() if hasattr(module, "in_features")}
    unknown, wrong = [], []
    for name, tensor in state.items():
        layer, _, part = name.removeprefix(PREFIX).partition(".lora_")
        if layer not in layers:
            unknown.append(name)
        elif part.startswith(("A.", "B.")) and tensor.ndim == 2:
            found, expected = _widths(part, tensor, layers[layer])
            if found != expected:
                wrong.append(f"{name} is {found} wide, the layer {expected}")
    if unknown or wrong:
        kinds = (("for layers that are not there", unknown), ("of another width", wrong))
        problems = "; ".join(f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds if names)
        raise WeightsError(f"this LoRA was made for another network than {type(transformer).__name__}: {problems}")


def _widths(part: str, tensor: Tensor, layer: nn.Module) -> tuple[int, int]:
    """The side of the factor that meets the layer, and the layer's own: A (rank, in), B (out, rank)."""
    if part.startswith("A."):
        return tensor.shape[1], int(layer.in_features)  # type: ignore[arg-type]
    return tensor.shape[0], int(layer.out_features)  # type: ignore[arg-type]
