"""One step's examples as tensors, and everything that is drawn for it: from the seed and the step alone.

source, target (B, T, H, W, 3) uint8        anchors (B, N, H, W, 3) uint8        noise like what it is added to
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sama_model.encoders import prompts_of
from sama_model.tokens import Joint
from sama_model.training.data import Example, Examples, gathered
from sama_model.training.loop import Drawn
from sama_model.training.settings import TrainingSettings

STREAM = 81
"""First word of the seeds drawn here."""


@dataclass(frozen=True)
class Batch:
    """What a step of a stage is shown. Pictures stay bytes until they are where the networks are."""

    source: Tensor
    target: Tensor
    prompts: tuple[str, ...]
    anchors: Tensor
    u: Tensor
    """(B,) uniform: noise levels before they are shifted."""
    noise_seed: int


@dataclass(frozen=True)
class Batches:
    """The batches of a stage by their step."""

    examples: Examples
    settings: TrainingSettings

    def __call__(self, step: int) -> Drawn[Batch]:
        """Raises BadExampleError like `gathered`."""
        first = step * self.settings.batch
        found = gathered(self.examples, range(first, first + self.settings.batch))
        return Drawn(batch_of(found.good, self.settings, step_generator(self.settings, step)), found.bad)


def step_generator(settings: TrainingSettings, step: int) -> np.random.Generator:
    """Decides all that is drawn for a step."""
    return np.random.default_rng([STREAM, settings.seed, step])


def batch_of(examples: Sequence[Example], settings: TrainingSettings, rng: np.random.Generator) -> Batch:
    """The examples, all of one shape, with the instruction dropped from some."""
    prompts = tuple(prompts_of(each.text)[int(rng.random() < settings.text_dropout)] for each in examples)
    count = min(settings.anchors, len(examples[0].target))
    anchors = [each.target[np.sort(rng.choice(len(each.target), count, replace=False))] for each in examples]
    return Batch(
        source=torch.from_numpy(np.stack([each.source for each in examples])),
        target=torch.from_numpy(np.stack([each.target for each in examples])),
        prompts=prompts,
        anchors=torch.from_numpy(np.stack(anchors)),
        u=torch.from_numpy(rng.random(len(examples), dtype=np.float32)),
        noise_seed=int(rng.integers(2**31)),
    )


def noise_like(data: Joint, seed: int) -> Joint:
    """Standard normal, drawn on the CPU, so that it is the same on any device."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(part.shape, generator=generator) for part in (data.video, data.semantic)]
    return Joint(parts[0].to(data.video), parts[1].to(data.semantic))


def pixels(frames: Tensor) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, 3, T, H, W) float32 in [-1, 1], as `encoders.video_of` one clip's."""
    return (frames.float() / 127.5 - 1).permute(0, 4, 1, 2, 3)
