"""The small VAE: Wan's class with small widths, trained on clips of the world, and the statistics of its latents.

L = mean |e| + square * mean e^2 + gradient * mean |grad e| + kl * mean KL    e = x_hat - x (B, 3, T, H, W) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from sama_model.config import VaeSizes
from sama_model.training.batches import StepNoise, pixels
from sama_model.training.data import WHOLE, Examples, Frames, Share, gathered
from sama_model.training.linear_code import begin
from sama_model.training.loop import Drawn, Stop, Tell, adopt, fit, never, seeded
from sama_model.training.settings import LoopSettings
from sama_model.weights import new_vae

FITTED = 48
"""Clips of which the linear code is made that the training begins with."""
STEP = 0.1
"""Deviation of the changes of latents whose effect is measured."""
MEASURED = 8
"""Batches, behind those of the training, on which the latents' statistics are measured."""
STREAM = 82
"""First word of the seeds drawn here."""


@dataclass(frozen=True)
class VaeSettings:
    """How the VAE is trained."""

    sizes: VaeSizes
    loop: LoopSettings
    kl: float = 1e-5
    """Weight of the divergence from a standard normal, a mean over the latents' numbers as the others are of pixels."""
    square: float = 2.0
    """Weight of the mean squared error, which large errors of colour decide."""
    gradient: float = 0.25
    """Weight of the error of the pictures' differences along x and y, which keeps edges sharp."""
    crop: tuple[int, int, int] | None = None
    """Frames (4k+1), height and width of what is shown of a clip, somewhere in it; None: all. What the VAE learns is
    local, and a part of a clip costs a part of the time."""

    def __post_init__(self) -> None:
        deepest = self.sizes.base_dim * self.sizes.dim_mult[-1]
        if self.sizes.z_dim >= deepest:
            raise ValueError(
                f"z_dim is {self.sizes.z_dim}, and of the {deepest} channels of the deepest layer one is constant: the "
                "linear code to begin with needs a smaller z_dim or a larger base_dim"
            )
        if self.crop is not None and (self.crop[0] % 4 != 1 or any(side % 4 for side in self.crop[1:])):
            raise ValueError(f"crop is frames (4k+1), height and width (multiples of 4), not {self.crop}")

    def objective(self) -> str:
        """What decides a step beside the loop."""
        whole = f"{self.sizes} {self.kl} {self.square} {self.gradient}"
        return whole if self.crop is None else f"{whole} {self.crop}"


@dataclass(frozen=True)
class Clips:
    """The clips of a step."""

    frames: Tensor
    """(B, T, H, W, 3) uint8."""
    noise: StepNoise


@dataclass(frozen=True)
class ClipBatches:
    """Sources and targets of examples in turn, or a part of each."""

    examples: Examples
    settings: LoopSettings
    crop: tuple[int, int, int] | None = None
    share: Share = WHOLE

    def sharing(self, share: Share) -> ClipBatches:
        return replace(self, share=share)

    def __call__(self, step: int) -> Drawn[Clips]:
        first = step * self.settings.batch
        found = gathered(self.examples, range(first, first + self.settings.batch), self.share)
        pairs = zip(found.places, found.good, strict=True)
        frames = [
            cropped(example.target if place % 2 else example.source, self.crop, (self.settings.seed, step, place))
            for place, example in pairs
        ]
        noise = StepNoise(step, found.places, found.of)
        return Drawn(Clips(torch.from_numpy(np.stack(frames)), noise), found.bad, found.count)


def cropped(frames: Frames, crop: tuple[int, int, int] | None, seeds: tuple[int, int, int]) -> Frames:
    """(T, H, W, 3) to a part of it that the seeds decide; whole along an axis that is no longer than the part."""
    if crop is None:
        return frames
    rng = np.random.default_rng([STREAM, *seeds])
    for axis, (size, part) in enumerate(zip(frames.shape[:3], crop, strict=True)):
        first = int(rng.integers(max(size - part, 0) + 1))
        frames = frames.take(range(first, first + min(size, part)), axis)
    return frames


@dataclass(frozen=True)
class VaeTask:
    """The VAE as the loop sees it."""

    vae: AutoencoderKLWan
    settings: VaeSettings
    draw: ClipBatches
    data: str
    part: str = "vae"

    @property
    def module(self) -> nn.Module:
        module: nn.Module = self.vae
        return module

    def place(self, device: torch.device) -> None:
        """Nothing is used that is not trained."""

    def losses(self, content: Clips) -> Mapping[str, Tensor]:
        video = pixels(content.frames.to(self.vae.device))
        posterior = self.vae.encode(video).latent_dist
        (noise,) = content.noise.like(posterior.mean)
        said = self.vae.decode(posterior.mean + posterior.std * noise).sample.float()
        error = said - video
        l1, gradient = error.abs().mean(), sum(error.diff(dim=axis).abs().mean() for axis in (-1, -2))
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        square, settings = error.square().mean(), self.settings
        total = l1 + settings.square * square + settings.gradient * gradient + settings.kl * kl
        return {"total": total, "l1": l1, "square": square, "gradient": gradient, "kl": kl}


def trained_vae(
    settings: VaeSettings, examples: Examples, run: Path, tell: Tell, stop: Stop = never
) -> AutoencoderKLWan:
    """The VAE, frozen, what its latents are normalised by in its configuration, as Wan's is. Raises as `loop.fit`."""
    vae = seeded(lambda: new_vae(settings.sizes), settings.loop.seed)
    draw = ClipBatches(examples, settings.loop, settings.crop)
    begin(vae, pixels(replace(draw, settings=replace(settings.loop, batch=FITTED))(0).content.frames))
    adopt(
        fit(VaeTask(vae, settings, draw, f"{settings.objective()} {examples!r}"), settings.loop, run, tell, stop), vae
    )
    mean, std = measured(vae, [draw(settings.loop.steps + i).content.frames for i in range(MEASURED)])
    vae.register_to_config(latents_mean=mean, latents_std=std)
    return vae


@torch.no_grad()
def measured(vae: AutoencoderKLWan, batches: list[Tensor]) -> tuple[list[float], list[float]]:
    """What every latent channel is normalised by, over clips (B, T, H, W, 3) uint8: its mean, and a scale.

    Scales are such that equal changes of normalised latents change the picture equally, and that their mean power is 1.
    With each channel's own deviation instead, as Wan's, the grain of textures would weigh as much as colours do, and a
    small transformer would learn nothing else.
    """
    found = [vae.encode(pixels(frames.to(vae.device))).latent_dist.mode() for frames in batches]
    latents = torch.cat(found).double().cpu().transpose(0, 1).flatten(1)
    shown = sensitivities(vae, found[0])
    power = (latents.std(dim=1) * shown).square().mean()
    return rounded(latents.mean(dim=1)), rounded(power.sqrt() / shown)


def sensitivities(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """(B, C, t, h, w) -> (C,): how much the picture changes, root mean square, for a change of 1 in each channel."""
    plain = vae.decode(latents).sample
    found = []
    for channel in range(latents.shape[1]):
        generator = torch.Generator().manual_seed(channel)
        change = torch.zeros_like(latents)
        change[:, channel] = STEP * torch.randn(latents[:, channel].shape, generator=generator).to(latents)
        found.append((vae.decode(latents + change).sample - plain).double().square().mean().sqrt() / STEP)
    return torch.stack(found).cpu()


def rounded(values: Tensor) -> list[float]:
    """Four digits, as Wan's statistics have."""
    return [round(value, 4) for value in values.tolist()]
