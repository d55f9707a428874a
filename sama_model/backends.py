"""Attention kernels that diffusers has no name for: FlashAttention 3 from the wheel `fa3-fwd`, in bfloat16 and fp8.

diffusers' `_flash_3` looks for a package of another name. A back end is chosen by name, never by what is installed; the
wheel is imported when one of these is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    _check_attention_backend_requirements,
    dispatch_attention_fn,
)
from torch import Tensor

from sama_model.wording import first_sentence

FA3, FA3_FP8 = "fa3_fwd", "fa3_fwd_fp8"
"""The second rounds queries, keys and values to eight bits: an approximation."""

OWN = (FA3, FA3_FP8)

ROUGH = ("sage", "fp8", "int8")
"""Parts of the names of back ends that round queries, keys or values to eight bits."""


HUB = "_hub"
"""Part of the names of back ends that fetch their kernel when they are first used."""


class BackendError(ValueError):
    """An attention back end that is unknown or not installed."""


def backend(name: str) -> Any:
    """What diffusers' dispatch takes for `name`, registered if it is one of `OWN`.

    Raises:
        BackendError: an unknown name, or a package that is not installed; the message says which and what there is.
    """
    if name in OWN:
        try:
            _wheel()
        except ImportError as error:
            raise BackendError(
                f"attention back end '{name}' needs the wheel fa3-fwd and a Hopper GPU ({error}); 'native' always works"
            ) from error
        return _registered(name)
    try:
        chosen = AttentionBackendName(name)
    except ValueError as error:
        raise BackendError(f"there is no attention back end '{name}'; there are {', '.join(exact_names())}") from error
    try:
        _check_attention_backend_requirements(chosen)  # its dispatch calls what is absent as if it were there
    except (ImportError, RuntimeError) as error:
        raise BackendError(f"attention back end '{name}' cannot be used here: {error}") from error
    return chosen


def exact_names() -> tuple[str, ...]:
    """Back ends that `set_exact_backend` takes, installed here or not."""
    names = [item.value for item in AttentionBackendName if item.value not in OWN]
    return (FA3, *(name for name in names if HUB not in name and not any(part in name for part in ROUGH)))


def set_exact_backend(model: ModelMixin, name: str, device: torch.device) -> None:
    """Use one that differs from the others by rounding alone, because no chunk key names it, in all of `model`.

    It is tried on `device` first: some are installed and refuse when they are called.

    Raises:
        BackendError: an approximation, one that is fetched at run time or that the device cannot run, or as `backend`.
    """
    if any(part in name for part in ROUGH):
        raise BackendError(
            f"attention back end '{name}' works in eight bits: an approximation that no chunk key names; take "
            f"'native', or '{FA3}' on a Hopper GPU"
        )
    if HUB in name:
        raise BackendError(f"attention back end '{name}' fetches a program while it runs: take one that is installed")
    chosen = backend(name)
    query = torch.zeros(1, 8, 2, model.config.head_dim, device=device, dtype=model.dtype)
    try:
        dispatch_attention_fn(query, query, query, backend=chosen)
    except (RuntimeError, ValueError) as error:
        raise BackendError(
            f"attention back end '{name}' cannot be used on this {device.type} in {model.dtype}: "
            f"{first_sentence(error)}; 'native' always works"
        ) from error
    model.set_attention_backend(name)


def _registered(name: str) -> Any:
    """A member that diffusers' enumeration gets at run time; its registry then finds the kernel by it."""
    if name not in AttentionBackendName._value2member_map_:
        member = str.__new__(AttentionBackendName, name)
        member._name_, member._value_ = name.upper(), name
        AttentionBackendName._value2member_map_[name] = member
        AttentionBackendName._member_map_[name.upper()] = member
    chosen = AttentionBackendName(name)
    _AttentionBackendRegistry.register(chosen)(_attend_in_eight_bits if name == FA3_FP8 else _attend)
    return chosen


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """(B, N, heads, d) each, no mask."""
    mixed: Tensor = fa3_kernel(query, key, value, [], scale)
    return mixed


def _attend_in_eight_bits(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """One scale a batch row and head. Keys lose their mean first: softmax does not see it, and the range shrinks."""
    key = key - key.mean(dim=1, keepdim=True)
    rounded, scales = zip(*(_rounded(x) for x in (query, key, value)), strict=True)
    mixed: Tensor = fa3_kernel(*rounded, list(scales), scale)
    return mixed.to(query.dtype)


@torch.library.custom_op("samaflow::fa3", mutates_args=())
def fa3_kernel(query: Tensor, key: Tensor, value: Tensor, descales: list[Tensor], scale: float | None) -> Tensor:
    """The wheel's forward as an operation that torch.compile takes as it is; in eight bits its result is bfloat16."""
    named = dict(zip(("q_descale", "k_descale", "v_descale"), descales, strict=False))
    said = _wheel().flash_attn_func(query, key, value, softmax_scale=scale, **named)
    mixed: Tensor = said[0] if isinstance(said, tuple) else said  # some versions give the log-sum-exp as well
    return mixed.to(_result_dtype(query)).contiguous()


@fa3_kernel.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, descales: list[Tensor], scale: float | None) -> Tensor:
    return query.new_empty(query.shape, dtype=_result_dtype(query))


def _result_dtype(query: Tensor) -> torch.dtype:
    return torch.bfloat16 if query.dtype == torch.float8_e4m3fn else query.dtype


def _wheel() -> Any:
    return importlib.import_module("fa3_fwd_interface")


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, heads, d) in float8, and what to multiply with, (B, heads)."""
    largest = x.abs().amax(dim=(1, 3)).float().clamp(min=1e-6)
    scale = largest / torch.finfo(torch.float8_e4m3fn).max
    return (x / scale[:, None, :, None]).to(torch.float8_e4m3fn), scale
