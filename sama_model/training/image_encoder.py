"""The small image encoder: trained to say what the world shows and where, then frozen; its features are the anchors.

frames (N, H, W, 3) uint8 -> 64 local tokens of an 8 x 8 grid and a global one (N, 65, semantic_dim), standardised

A local token says shape, colour and texture of the thing that covers its cell, and the ground; the global one which
shapes, colours, textures and places there are, the ground and the style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, gelu

from sama_model.training.data import WHOLE, Share
from sama_model.training.loop import Drawn, Stop, Tell, adopt, fit, never, seeded
from sama_model.training.settings import LoopSettings
from sama_model.training.world.drawing import draw
from sama_model.training.world.labels import Labels, Vocabulary, labels_of
from sama_model.training.world.rules import WORLDS, WorldRules
from sama_model.training.world.samples import planned

GRID = 8
MEASURED = 8
"""Batches, behind those of the training, on which the tokens' statistics are measured."""


@dataclass(frozen=True)
class ImageEncoderSettings:
    """How the image encoder is made and trained."""

    loop: LoopSettings
    """A step's batch counts clips; all their frames are shown."""
    width: int = 32
    """Channels at a quarter of the size."""


class ImageEncoder(nn.Module):
    """Convolutions to a quarter of the size, pooled to the grid; and what training asks of its tokens."""

    def __init__(self, width: int, tokens: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        )
        self.blocks = nn.ModuleList(nn.Conv2d(2 * width, 2 * width, 3, padding=1) for _ in range(3))
        self.local_tokens = nn.Linear(2 * width, tokens)
        self.global_token = nn.Linear(4 * width, tokens)
        self.local_heads = nn.ModuleDict({name: nn.Linear(tokens, count) for name, count in vocabulary.local.items()})
        self.global_heads = nn.ModuleDict({name: nn.Linear(tokens, count) for name, count in vocabulary.whole.items()})
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(2, tokens))
        self.register_buffer("std", torch.ones(2, tokens))

    def tokens(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> (N, 64, d) and (N, d), as the heads read them."""
        x = self.stem((frames.float() / 127.5 - 1).permute(0, 3, 1, 2))
        for block in self.blocks:
            x = x + block(gelu(x))
        x = gelu(x)
        cells = adaptive_avg_pool2d(x, GRID).flatten(2).transpose(1, 2)
        whole = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.local_tokens(cells), self.global_token(whole)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """(B, N, H, W, 3) uint8 -> (B, N * 65, d), mean 0 and deviation 1 over the world."""
        local, whole = (self.standardised(i, x) for i, x in enumerate(self.tokens(frames.flatten(0, 1))))
        return torch.cat([local, whole[:, None]], dim=1).reshape(frames.shape[0], -1, local.shape[-1])

    def standardised(self, kind: int, tokens: Tensor) -> Tensor:
        """Local tokens (0) or global ones (1)."""
        return (tokens.float() - self.mean[kind]) / self.std[kind]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a step and what they show."""

    frames: Tensor
    """(N, H, W, 3) uint8."""
    labels: Labels


@dataclass(frozen=True)
class PictureBatches:
    """Frames of the world's scenes, before and after the edit in turn."""

    world: str
    settings: LoopSettings
    share: Share = WHOLE

    def sharing(self, share: Share) -> PictureBatches:
        return replace(self, share=share)

    def __call__(self, step: int) -> Drawn[Pictures]:
        rules = WORLDS[self.world]
        first = step * self.settings.batch
        places = self.share.places(self.settings.batch)
        drawn = [
            self.labelled(first + place, rules) for place in places or [0]
        ]  # none: one stands in, counting nothing
        frames = np.concatenate([frames for frames, _ in drawn])
        pictures = Pictures(torch.from_numpy(frames), Labels.together([labels for _, labels in drawn]))
        return Drawn(pictures, count=len(places))

    def labelled(self, number: int, rules: WorldRules) -> tuple[npt.NDArray[np.uint8], Labels]:
        """A clip's frames."""
        plan = planned(self.settings.seed, number, rules=rules)
        scene = plan.target if number % 2 else plan.source
        clip = draw(scene, rules)
        return clip.frames, labels_of(scene, clip.covers, rules, GRID)


@dataclass(frozen=True)
class ImageEncoderTask:
    """The image encoder as the loop sees it."""

    module: ImageEncoder
    draw: PictureBatches
    data: str
    part: str = "image_encoder"

    def place(self, device: torch.device) -> None:
        """Nothing is used that is not trained."""

    def losses(self, content: Pictures) -> Mapping[str, Tensor]:
        encoder, labels = self.module, content.labels
        device = encoder.mean.device
        local, whole = encoder.tokens(content.frames.to(device))
        found = {
            f"local {name}": cross_entropy(encoder.local_heads[name](local).flatten(0, 1), classes.to(device).flatten())
            for name, classes in labels.local.items()
        }
        for name, there in labels.whole.items():
            found[f"global {name}"] = binary_cross_entropy_with_logits(
                encoder.global_heads[name](whole), there.to(whole)
            )
        return {"total": torch.stack(list(found.values())).sum(), **found}


def trained_image_encoder(
    settings: ImageEncoderSettings, tokens: int, world: str, run: Path, tell: Tell, stop: Stop = never
) -> ImageEncoder:
    """The encoder, frozen, its tokens `tokens` wide and standardised. Raises as `loop.fit`."""
    vocabulary = Vocabulary.of(WORLDS[world])
    encoder = seeded(lambda: ImageEncoder(settings.width, tokens, vocabulary), settings.loop.seed)
    draw_batch = PictureBatches(world, settings.loop)
    data = f"{settings.width} {tokens} {world} {WORLDS[world].digest()}"
    adopt(fit(ImageEncoderTask(encoder, draw_batch, data), settings.loop, run, tell, stop), encoder)
    measure(encoder, [draw_batch(settings.loop.steps + i).content.frames for i in range(MEASURED)])
    return encoder


@torch.no_grad()
def measure(encoder: ImageEncoder, batches: list[Tensor]) -> None:
    """Sets the statistics of the tokens over pictures (N, H, W, 3) uint8."""
    kinds = zip(*(encoder.tokens(frames.to(encoder.mean.device)) for frames in batches), strict=True)
    for i, kind in enumerate(kinds):
        tokens = torch.cat([each.flatten(0, -2) for each in kind])
        encoder.mean[i], encoder.std[i] = tokens.mean(dim=0), tokens.std(dim=0)
