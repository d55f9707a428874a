"""One step's examples as tensors, and everything that is drawn for it: from the seed and the step alone.

source, target (B, T, H, W, 3) uint8        anchors (B, N, H, W, 3) uint8        noise like what it is added to
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sama_model.encoders import Tokens, prompts_of, tokenize
from sama_model.training.data import WHOLE, Examples, Gathered, Share, gathered
from sama_model.training.loop import Drawn, EmptyStep
from sama_model.training.settings import TrainingSettings

STREAM = 81
"""First word of the seeds drawn here."""


@dataclass(frozen=True)
class StepNoise:
    """The noise of some places of a step, drawn for all of them: no place's depends on who draws it."""

    seed: int
    places: tuple[int, ...]
    of: int

    def like(self, *tensors: Tensor) -> list[Tensor]:
        """Standard normal for each (B, ...), all on one device, which draws it: another kind would draw another."""
        device = tensors[0].device
        generator = torch.Generator(device).manual_seed(self.seed)
        drawn = [torch.randn((self.of, *tensor.shape[1:]), generator=generator, device=device) for tensor in tensors]
        return [noise[list(self.places)].to(tensor) for noise, tensor in zip(drawn, tensors, strict=True)]


@dataclass(frozen=True)
class Batch:
    """What a step of a stage is shown. Pictures stay bytes until they are where the networks are."""

    source: Tensor
    target: Tensor
    prompts: Tokens
    """(B, 512) ids and mask."""
    anchors: Tensor
    u: Tensor
    """(B,) uniform: noise levels before they are shifted."""
    noise: StepNoise

    def pin_memory(self) -> Batch:
        """The pictures in memory that a GPU reads by itself, while the step before is computed."""
        pictures = {name: getattr(self, name).pin_memory() for name in ("source", "target", "anchors")}
        return replace(self, **pictures)


@dataclass(frozen=True)
class Batches:
    """The batches of a stage by their step."""

    examples: Examples
    settings: TrainingSettings
    tokenizer: PreTrainedTokenizerBase
    share: Share = WHOLE

    def sharing(self, share: Share) -> Batches:
        return replace(self, share=share)

    def __call__(self, step: int) -> Drawn[Batch] | EmptyStep:
        first = step * self.settings.batch
        found = gathered(self.examples, range(first, first + self.settings.batch), self.share)
        if not found.good:
            return EmptyStep(found.bad)
        batch = batch_of(found, self.settings, step_generator(self.settings, step), self.tokenizer)
        return Drawn(batch, found.bad, found.count)


def step_generator(settings: TrainingSettings, step: int) -> np.random.Generator:
    """Decides all that is drawn for a step."""
    return np.random.default_rng([STREAM, settings.seed, step])


def batch_of(
    found: Gathered, settings: TrainingSettings, rng: np.random.Generator, tokenizer: PreTrainedTokenizerBase
) -> Batch:
    """The examples, all of one shape, with the instruction dropped from some. Drawn for every place of the step."""
    examples, places = found.good, list(found.places)
    dropped = [int(rng.random() < settings.text_dropout) for _ in range(found.of)]
    frames = len(examples[0].target)
    count = min(settings.anchors, frames)
    anchored = [np.sort(rng.choice(frames, count, replace=False)) for _ in range(found.of)]
    u = rng.random(found.of, dtype=np.float32)
    pairs = list(zip(places, examples, strict=True))
    return Batch(
        source=torch.from_numpy(np.stack([each.source for each in examples])),
        target=torch.from_numpy(np.stack([each.target for each in examples])),
        prompts=Tokens.together([tokenize(tokenizer, prompts_of(each.text)[dropped[place]]) for place, each in pairs]),
        anchors=torch.from_numpy(np.stack([each.target[anchored[place]] for place, each in pairs])),
        u=torch.from_numpy(u[places]),
        noise=StepNoise(int(rng.integers(2**31)), found.places, found.of),
    )


def pixels(frames: Tensor) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, 3, T, H, W) float32 in [-1, 1], as `encoders.video_of` one clip's."""
    return (frames.float() / 127.5 - 1).permute(0, 4, 1, 2, 3)
