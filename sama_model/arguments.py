"""What a call of the pipeline can be given, held against the networks before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sama_model.config import SEMANTIC_TOKENS, TEXT_TOKENS, Recipe
from sama_model.tokens import Joint


def check_frames(frames: Any) -> None:
    """Refuse what is no clip. Raises ValueError."""
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
        kind = frames.dtype if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ValueError(f"frames are a uint8 array (T, H, W, 3) of 0..255, not {kind}: scale, round and cast them")
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames are an array (T, H, W, 3), not {frames.shape}")
    if not frames.size:
        raise ValueError(f"a clip has at least one frame with pixels, not {frames.shape}")


def check_finite(what: str, tensor: Tensor) -> None:
    """Refuse what no picture can be made of. Raises ValueError."""
    if not tensor.isfinite().all():
        raise ValueError(
            f"the {what} of the edit are not all finite numbers: what went into it or the weights hold such ones, or "
            f"{tensor.dtype} is too narrow for these weights; give bfloat16 or float32"
        )


def check_size(size: Any) -> None:
    """Refuse what is no (width, height); None is the frames' own. Raises ValueError."""
    if size is None:
        return
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, Integral) for side in size)):
        raise ValueError(f"size is (width, height) in whole pixels, not {size!r}")
    if min(size) < 1:
        raise ValueError(f"size is (width, height), both at least 1, not {size!r}")


def check_noise(noise: Any, generator: Any, shape: tuple[int, ...], semantic_dim: int) -> None:
    """Refuse a generator that cannot draw as the official code does, and noise of another shape. Raises ValueError.

    `shape` (1, C, t, h, w) is the latents'.
    """
    if noise is not None and generator is not None:
        raise ValueError("give a generator that draws the noise, or the noise itself, not both")
    if generator is not None and not (isinstance(generator, torch.Generator) and generator.device.type == "cpu"):
        given = f"one on {generator.device}" if isinstance(generator, torch.Generator) else type(generator).__name__
        raise ValueError(f"generator is a torch.Generator on the CPU, which draws alike on every machine, not {given}")
    if noise is None:
        return
    if not isinstance(noise, Joint):
        raise ValueError(f"noise is a sama_model.tokens.Joint of video and semantic noise, not {type(noise).__name__}")
    expected = {"video": shape, "semantic": (1, SEMANTIC_TOKENS, semantic_dim)}
    for name, wanted in expected.items():
        if (found := tuple(getattr(noise, name).shape)) != wanted:
            raise ValueError(f"the noise's {name} part is {wanted}, not {found}")


def check_prompt(prompt: Any, prompt_embeds: Any, width: int) -> None:
    """Refuse anything but one prompt, or both of its contexts, `width` wide, where there are any. Raises ValueError."""
    if prompt is not None and prompt_embeds is not None:
        raise ValueError("give a prompt or prompt_embeds, not both")
    if prompt_embeds is None:
        if prompt is not None and not isinstance(prompt, str):
            raise ValueError(f"a prompt is one text, not {type(prompt).__name__}: call once for each")
        return
    expected = (2, TEXT_TOKENS, width)
    found = tuple(prompt_embeds.shape) if isinstance(prompt_embeds, Tensor) else type(prompt_embeds).__name__
    if found != expected:
        raise ValueError(f"prompt_embeds are {expected}, of the instruction and of the bare prefix, not {found}")


def check_recipe(recipe: Recipe) -> None:
    """Refuse numbers that no sampler can follow; those of the schedule are its own to check. Raises ValueError."""
    steps: Any = recipe.steps
    if not isinstance(steps, Integral):
        raise ValueError(f"the number of steps is whole, not {steps!r}")
    numbers: tuple[Any, ...] = (recipe.guidance, recipe.shift, recipe.guided, recipe.step_cache)
    if strange := [number for number in numbers if not isinstance(number, Real)]:
        raise ValueError(f"guidance_scale, shift, guided and step_cache are numbers, not {strange[0]!r}")
    if not math.isfinite(recipe.shift):
        raise ValueError(f"shift is a finite number, not {recipe.shift}")
    if not math.isfinite(recipe.guidance):
        raise ValueError(f"guidance is a finite number, not {recipe.guidance}; 1 leaves it out")
    if not (math.isfinite(recipe.step_cache) and recipe.step_cache >= 0):
        raise ValueError(f"a step cache's threshold is finite and not negative, not {recipe.step_cache}; 0 is none")


def check_returned(returned: Any, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a callback returned, by name; nothing for None. Raises ValueError for what cannot take a tensor's place."""
    if not isinstance(returned, Mapping | None):
        raise ValueError(f"a callback returns tensors by name, or None, not {type(returned).__name__}")
    for name, tensor in (returned or {}).items():
        if name not in named:
            raise ValueError(f"a callback can replace {', '.join(named)}, not {name!r}")
        wanted, found = tuple(named[name].shape), tuple(getattr(tensor, "shape", ()))
        if not isinstance(tensor, Tensor) or found != wanted or tensor.dtype != named[name].dtype:
            kind = f"{tensor.dtype} {found}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"a callback's {name} are {named[name].dtype} {wanted}, not {kind}")
    return dict(returned or {})
