"""What a call of the pipeline can be given, held against the networks before anything is computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from sama_model.config import TEXT_TOKENS, Recipe


def check_frames(frames: Any) -> None:
    """Refuse what is no clip. Raises ValueError."""
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
        kind = frames.dtype if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ValueError(f"frames are a uint8 array (T, H, W, 3) of 0..255, not {kind}: scale, round and cast them")
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames are an array (T, H, W, 3), not {frames.shape}")


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
    if not math.isfinite(recipe.guidance):
        raise ValueError(f"guidance is a finite number, not {recipe.guidance}; 1 leaves it out")
    if not (math.isfinite(recipe.step_cache) and recipe.step_cache >= 0):
        raise ValueError(f"a step cache's threshold is finite and not negative, not {recipe.step_cache}; 0 is none")
