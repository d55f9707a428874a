"""One step's examples as tensors, and everything that is drawn for it: from the seed and the step alone.

source, target (B, 3, T, H, W) in [-1, 1]        anchors (B, N, H, W, 3) uint8        noise like what it is added to
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sama_model.encoders import prompts_of, video_of
from sama_model.tokens import Joint
from sama_model.training.data import Example, Frames
from sama_model.training.settings import TrainingSettings

STREAM = 81
"""First word of the seeds drawn here."""


@dataclass(frozen=True)
class Batch:
    """What a step is shown."""

    source: Tensor
    target: Tensor
    prompts: tuple[str, ...]
    anchors: Frames
    u: Tensor
    """(B,) uniform: noise levels before they are shifted."""
    noise_seed: int


def step_generator(settings: TrainingSettings, step: int) -> np.random.Generator:
    """Decides all that is drawn for a step."""
    return np.random.default_rng([STREAM, settings.seed, step])


def batch_of(examples: Sequence[Example], settings: TrainingSettings, rng: np.random.Generator) -> Batch:
    """The examples, all of one shape, with the instruction dropped from some."""
    prompts = tuple(prompts_of(each.text)[int(rng.random() < settings.text_dropout)] for each in examples)
    count = min(settings.anchors, len(examples[0].target))
    anchors = [each.target[np.sort(rng.choice(len(each.target), count, replace=False))] for each in examples]
    return Batch(
        source=torch.cat([video_of(each.source) for each in examples]),
        target=torch.cat([video_of(each.target) for each in examples]),
        prompts=prompts,
        anchors=np.stack(anchors),
        u=torch.from_numpy(rng.random(len(examples), dtype=np.float32)),
        noise_seed=int(rng.integers(2**31)),
    )


def noise_like(data: Joint, seed: int) -> Joint:
    """Standard normal, drawn on the CPU, so that it is the same on any device."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(part.shape, generator=generator) for part in (data.video, data.semantic)]
    return Joint(parts[0].to(data.video), parts[1].to(data.semantic))
