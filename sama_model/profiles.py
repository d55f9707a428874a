"""Where a pipeline's parts lie while it works, how much device memory that takes, and what may be given up for less.

Exact profiles change no result and are chosen by what is free. Approximations change results: they are asked for by
name, as a part of the weights' name, and stand in the numerics class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers.hooks import apply_group_offloading
from torch import nn

from sama_model.cards import approximations
from sama_model.config import EDGE_BLOCKS, WeightsCard
from sama_model.errors import DeviceTooSmallError
from sama_model.pipeline import SamaPipeline

RESIDENT, STREAMED, STREAMED_SMALL = "resident", "streamed", "streamed_small"

EXACT_PROFILES = (RESIDENT, STREAMED, STREAMED_SMALL)
"""From the fastest to the smallest."""

COMPILED_SHAPES = 64
"""Forms of a block that a process compiles at most; more run as they are. A size of chunk makes three to six."""

HEADROOM = 0.95
"""Share of the free memory that a prediction may fill."""


# -- choosing ---------------------------------------------------------------------------------------------------------


def chosen(asked: str, card: WeightsCard, free: int | None) -> str:
    """The profile to begin with: the one asked for, or for `auto` the fastest whose predicted peak fits.

    `free` is the device's free memory in bytes; None, for the CPU, fits everything.

    Raises:
        DeviceTooSmallError: not even the smallest exact profile fits.
    """
    if asked != "auto":
        return asked
    if free is None:
        return RESIDENT
    peaks = dict(card.peaks)
    for profile in EXACT_PROFILES:
        if peaks.get(profile, 0) <= HEADROOM * free:
            return profile
    remedies = ["use a larger device", *(f"weights '{name}'" for name in _that_fit(card, free))]
    raise DeviceTooSmallError(
        f"the device has {free / 2**30:.1f} GiB free, the smallest exact profile ({STREAMED_SMALL}) is predicted to "
        f"need {peaks[STREAMED_SMALL] / 2**30:.1f} GiB: {' or '.join(remedies)}"
    )


def _that_fit(card: WeightsCard, free: int) -> tuple[str, ...]:
    """The same weights with more approximations, if they are predicted to fit."""
    plain = replace(card, name=card.name.split("+")[0], numerics=card.numerics.split("+")[0])
    return tuple(
        other.name
        for other in approximations(plain)
        if set(card.approximations) < set(other.approximations)
        and min(peak for _, peak in other.peaks) <= HEADROOM * free
    )


def too_small(profile: str) -> DeviceTooSmallError:
    """What to say when the device's memory ran out in `profile` and this process will not try a smaller one."""
    below = smaller(profile)
    remedy = "use a larger device" if below is None else f"set [model] profile = '{below}', or use a larger device"
    which = "the smallest exact profile" if below is None else "profile"
    return DeviceTooSmallError(f"{which} ({profile}) did not fit the device's free memory: {remedy}")


def smaller(profile: str) -> str | None:
    """The next exact profile down."""
    rest = EXACT_PROFILES[EXACT_PROFILES.index(profile) + 1 :]
    return rest[0] if rest else None


def free_memory(device: torch.device) -> int | None:
    """Bytes free on an accelerator; None on the CPU."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


# -- placing ----------------------------------------------------------------------------------------------------------


def place(pipeline: SamaPipeline, profile: str, device: torch.device) -> None:
    """Put a pipeline that lies on the CPU where `profile` wants it.

    Raises:
        DeviceTooSmallError: not even its weights fit.
    """
    try:
        _place(pipeline, profile, device)
    except torch.OutOfMemoryError as error:
        raise too_small(profile) from error


def _place(pipeline: SamaPipeline, profile: str, device: torch.device) -> None:
    if profile == RESIDENT:
        pipeline.to(device)
        return
    pipeline.transformer.enable_group_offload(
        device, offload_type="block_level", num_blocks_per_group=1, use_stream=device.type == "cuda"
    )
    if profile == STREAMED:
        pipeline.vae.to(device)
    else:
        _make_small(pipeline, device)


def _make_small(pipeline: SamaPipeline, device: torch.device) -> None:
    """What `streamed_small` does beside streaming the transformer."""
    apply_group_offloading(pipeline.vae, device, offload_type="leaf_level")
    pipeline.branches_in_turn = True


def compile_blocks(pipeline: SamaPipeline, backend: str = "inductor") -> None:
    """Compile the transformer's block, which all share: anew for each shape, for the first block and for the last.

    Only where weights stay on the device: streaming hangs on hooks that cannot be compiled.
    """
    torch._dynamo.config.recompile_limit = max(COMPILED_SHAPES, torch._dynamo.config.recompile_limit)
    pipeline.transformer.compile_repeated_blocks(dynamic=False, backend=backend)


def uncompile_blocks(pipeline: SamaPipeline) -> None:
    """Undo `compile_blocks`."""
    for block in pipeline.transformer.blocks:
        block._compiled_call_impl = None


def step_down(pipeline: SamaPipeline, profile: str, device: torch.device) -> str:
    """Place a pipeline that ran out of memory in the next smaller exact profile, and say which.

    Raises:
        DeviceTooSmallError: there is none, or its weights do not fit either.
    """
    below = smaller(profile)
    if below is None:
        raise too_small(profile)
    if profile == RESIDENT:
        uncompile_blocks(pipeline)
        pipeline.to("cpu")
        place(pipeline, below, device)
    else:
        pipeline.vae.to("cpu")
        _make_small(pipeline, device)
    return below


# -- approximations ---------------------------------------------------------------------------------------------------


def quantise_feed_forward(pipeline: SamaPipeline) -> None:
    """`fp8`: the feed-forward weights in eight bits, a scale a row, but those of the edge blocks."""
    from torchao.quantization import Float8WeightOnlyConfig, quantize_

    blocks = list(pipeline.transformer.blocks)
    for block in blocks[EDGE_BLOCKS[0] : len(blocks) - EDGE_BLOCKS[1]]:
        quantize_(block.ffn, Float8WeightOnlyConfig(), filter_fn=_is_linear)


def tile_vae(pipeline: SamaPipeline) -> None:
    """`tiled`: the VAE on overlapping tiles, as the official scripts do."""
    pipeline.tiled = True


def _is_linear(module: nn.Module, _: str) -> bool:
    return isinstance(module, nn.Linear)


APPLY: dict[str, Callable[[SamaPipeline], None]] = {"fp8": quantise_feed_forward, "tiled": tile_vae}
"""By the names of `config.APPROXIMATIONS`."""
