"""How a part is trained: with the data, everything that decides the numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Self

from sama_model.training.losses import SemanticTarget

PRECISIONS = ("no", "bf16")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class LoopSettings:
    """What the loop itself is told."""

    steps: int
    batch: int
    """Examples of a step."""
    learning_rate: float = 2e-5
    warmup: int = 0
    """Steps over which the learning rate rises to its value; the paper does not say."""
    cooldown: int = 0
    """Last steps, over which the learning rate falls to nothing; 0: it stays. The paper does not say."""
    optimizer: str = "adamw"
    """`muon`: the matrices of the transformer's blocks are stepped by Muon, all else by AdamW as ever."""
    weight_decay: float = 0.01
    """Of the optimizer; the paper does not say."""
    clip: float = 1.0
    """Largest norm of the gradient; the paper does not say."""
    ema_decay: float = 0.9998
    """Of the average that is released, updated at every step."""
    seed: int = 0
    checkpoint_every: int = 500
    """Steps; the last step has a checkpoint in any case."""
    mixed_precision: str = "no"
    """`bf16`: products in bfloat16, the weights and their average in float32; `no`: everything in float32."""
    workers: int = 0
    """Processes that draw examples ahead; 0: they are drawn between the steps."""

    def __post_init__(self) -> None:
        if self.mixed_precision not in PRECISIONS:
            raise ValueError(f"mixed_precision is one of {', '.join(PRECISIONS)}, not {self.mixed_precision!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")

    def decisive(self, done: int) -> Self:
        """Without what changes no number of the first `done` steps: a run goes on under the same only.

        Until the rate begins to fall, the run may become longer or shorter.
        """
        falling = done > self.steps - self.cooldown
        kept = (self.steps, self.cooldown) if self.cooldown and falling else (0, 0)
        return replace(self, steps=kept[0], cooldown=kept[1], checkpoint_every=0, workers=0)

    def digest(self, done: int) -> str:
        """sha256 of what decides the numbers of the first `done` steps."""
        return hashlib.sha256(repr(self.decisive(done)).encode()).hexdigest()

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rising = (step + 1) / (self.warmup + 1)
        falling = (self.steps - step) / (self.cooldown + 1) if self.cooldown else 1.0
        return self.learning_rate * min(1.0, rising, falling)


@dataclass(frozen=True)
class TrainingSettings(LoopSettings):
    """One stage's settings; the defaults are the paper's where it says something (models.md 1.2)."""

    train_text: bool = False
    """Whether the text encoder is trained with the transformer (stage 0 of a small model) or frozen."""
    text_dropout: float = 0.1
    """Share of the examples that see the bare prefix, which guidance takes as its negative; the paper does not say."""
    shift: float = 5.0
    """Of the noise levels; inference's."""
    semantic_target: SemanticTarget = SemanticTarget.VELOCITY
    semantic_weight: float = 0.1
    changed_share: float = 0.0
    """Share of the flow loss that stands where the edit changes the picture, see `losses.changed`; the paper says
    nothing of one."""
    anchors: int = 1
    """Frames of the target whose tokens are anchors; 65 tokens each. The sampler draws one's."""
    lora_rank: int = 0
    """Of the factors that are trained in the transformer's stead (`adapters`); 0: the transformer itself is."""
    gradient_checkpointing: bool = False
    """Blocks are computed again in the backward pass instead of kept."""
    compile: bool = False
    """Blocks are compiled by torch, which takes a minute at first and rounds otherwise."""

    def decisive(self, done: int) -> Self:
        """As in any loop; blocks that are computed again give the same numbers."""
        return replace(super().decisive(done), gradient_checkpointing=False)
