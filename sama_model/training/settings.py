"""How a stage is trained: with the examples, everything that decides the numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from sama_model.training.losses import SemanticTarget


@dataclass(frozen=True)
class TrainingSettings:
    """One stage's settings; the defaults are the paper's where it says something (models.md 1.2)."""

    steps: int
    batch: int
    """Examples of a step."""
    train_text: bool
    """Whether the text encoder is trained with the transformer (stage 0 of a small model) or frozen."""
    learning_rate: float = 2e-5
    warmup: int = 0
    """Steps over which the learning rate rises to its value; the paper does not say."""
    weight_decay: float = 0.01
    """Of AdamW; the paper does not say."""
    clip: float = 1.0
    """Largest norm of the gradient; the paper does not say."""
    ema_decay: float = 0.9998
    """Of the average that is released, updated at every step."""
    text_dropout: float = 0.1
    """Share of the examples that see the bare prefix, which guidance takes as its negative; the paper does not say."""
    shift: float = 5.0
    """Of the noise levels; inference's."""
    semantic_target: SemanticTarget = SemanticTarget.VELOCITY
    semantic_weight: float = 0.1
    anchors: int = 1
    """Frames of the target whose tokens are anchors; 65 tokens each. The sampler draws one's."""
    seed: int = 0
    checkpoint_every: int = 500
    """Steps; the last step has a checkpoint in any case."""
    mixed_precision: str = "no"
    """`no`, `bf16` or `fp16`, as accelerate takes them."""
    gradient_checkpointing: bool = False
    """Blocks are computed again in the backward pass instead of kept."""

    def digest(self) -> str:
        """sha256 of what decides the numbers of a step: a run goes on under the same only, but may become longer."""
        decisive = replace(self, steps=0, checkpoint_every=0, gradient_checkpointing=False)
        return hashlib.sha256(repr(decisive).encode()).hexdigest()

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / (self.warmup + 1))
