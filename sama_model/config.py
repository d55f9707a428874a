"""Sizes of the networks and the cards of the weights. No torch here: the flow side reads cards to plan.

A card says what a set of weights can be asked for (working sizes, chunk geometry, default sampling) and which bytes it
is (digest), so that a plan can be made where the weights are not.
"""

from __future__ import annotations

from dataclasses import dataclass

# -- sampling ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """A preset, resolved: what the sampler is told."""

    steps: int
    guidance: float
    shift: float


# -- cards ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    """How a shot is cut into chunks for these weights."""

    chunk_frames: int
    """Frames of one model call, 4k+1."""
    stride: int
    """Frames between the starts of neighbours, 0 mod 4."""
    lead: int
    """Head frames of a later chunk that get no weight: the model treats position 0 as the opening of a shot."""
    temporal_factor: int = 4
    """Frames a latent holds (the first holds one)."""


@dataclass(frozen=True)
class WeightsCard:
    """What the flow side knows of a set of weights without opening it."""

    name: str
    editor: str
    editor_version: str
    """Raised whenever the editor's output changes for the same request."""
    digest: str
    """sha256 over the weights; empty for editors without a model."""
    geometry: Geometry
    buckets: tuple[tuple[int, int], ...]
    """Working sizes (width, height); the one nearest in aspect ratio is used. Empty: the source's own aspect."""
    max_pixels: int
    """Without buckets, the working size is the source's, scaled down to at most this many pixels, both sides even."""
    numerics: str
    """Numerics class: dtype, quantisation, tiling, caches; goes into the chunk key."""
    recipes: tuple[tuple[str, Recipe], ...]
    """Presets by name, the default first; empty for editors without a sampler."""
    seconds_per_frame: float
    """Estimate of editing time for one frame on the card's reference device at the default recipe."""
    reference_device: str

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which a source of `width` x `height` display pixels is edited.

        With buckets: argmin |w/h - W/H|, the first minimum wins (the official rule, models.md 1.1 step B).
        """
        if self.buckets:
            return min(self.buckets, key=lambda size: abs(size[0] / size[1] - width / height))
        scale = min(1.0, (self.max_pixels / (width * height)) ** 0.5)
        return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)
