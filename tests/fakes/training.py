"""A training run small enough for tests, also as a program that can be killed.

python -m tests.fakes.training FOLDER STEPS [BATCH]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import ByT5Tokenizer

from sama_model.tiny import TEXT_ENCODER, TRANSFORMER, VAE, tiny_tensors
from sama_model.training.data import Example
from sama_model.training.loop import Progress
from sama_model.training.settings import TrainingSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.trainer import Networks, train
from sama_model.weights import load_text_encoder, load_transformer, load_vae
from tests.fakes.anchors import PooledColours


@dataclass(frozen=True)
class Crops:
    """Five frames of 32x32 of stage 1's examples."""

    whole: StageOne

    def example(self, number: int) -> Example:
        example = self.whole.example(number)
        part = slice(5), slice(16, 48), slice(40, 72)
        return Example(example.name, example.source[part], example.target[part], example.text, example.kind)


def networks() -> Networks:
    """Those of `tiny`, on one thread: more would add in another order."""
    torch.set_num_threads(1)
    tensors = tiny_tensors()
    return Networks(
        transformer=load_transformer(tensors["transformer"], TRANSFORMER, torch.float32),
        text_encoder=load_text_encoder(tensors["text_encoder"], TEXT_ENCODER, torch.float32),
        vae=load_vae(tensors["vae"], VAE, torch.float32),
        tokenizer=ByT5Tokenizer(extra_ids=0),
        anchors=PooledColours(TRANSFORMER.semantic_dim),
    )


def settings(steps: int, batch: int = 2) -> TrainingSettings:
    """A checkpoint every two steps."""
    return TrainingSettings(steps, batch, train_text=True, learning_rate=1e-3, warmup=2, checkpoint_every=2)


def said(progress: Progress) -> None:
    """One line a step, for whoever waits for it."""
    sys.stdout.write(f"{progress.step} {progress.figure('flow')}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[2:]]
    train(networks(), Crops(StageOne(seed=1)), settings(*numbers), Path(sys.argv[1]), said)
