"""A pipeline of a few thousand numbers with three blocks, so that there is a first, a middle and a last one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sama_model.cards import card
from sama_model.config import TransformerSizes
from sama_model.editors.sama import load_tiny
from sama_model.pipeline import SamaPipeline
from sama_model.transformer import SamaTransformer3DModel

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)

THREE_LAYERS = TransformerSizes(
    num_heads=3, head_dim=32, ffn_dim=192, num_layers=3, text_dim=32, freq_dim=64, semantic_dim=1152, semantic_hidden=32
)


def three_layers() -> SamaPipeline:
    """`tiny` with another transformer."""
    pipeline = load_tiny(card("sama", "tiny").digest)
    torch.manual_seed(0)
    pipeline.register_modules(transformer=SamaTransformer3DModel.of(THREE_LAYERS).eval().requires_grad_(False))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latents(pipeline: SamaPipeline, **arguments: Any) -> Tensor:
    """Of a short edit."""
    generator = torch.Generator().manual_seed(1)
    edit = pipeline(FRAMES, "make it snow", num_inference_steps=3, generator=generator, **arguments)
    result: Tensor = edit.latents
    return result


def near(ours: Tensor, plain: Tensor, tolerance: float) -> bool:
    """Whether the difference is at most this share of the plain result."""
    return bool((ours - plain).norm() <= tolerance * plain.norm())
