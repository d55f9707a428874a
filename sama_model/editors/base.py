"""The Editor protocol: an RGB clip and an instruction in, an RGB clip of the same shape out. numpy only here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sama_model.config import Recipe, WeightsCard

Frames = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(T, H, W, 3) RGB. uint8 in; uint8 or (10-bit sources and deliverables) uint16 out."""

Progress = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all). May raise to stop the edit: the exception passes through."""


class InstructionError(ValueError):
    """The editor does not know what to do with the instruction; the message lists what it knows."""


@dataclass(frozen=True)
class EditRequest:
    """One chunk to edit."""

    frames: npt.NDArray[np.uint8]
    """(T, H, W, 3) RGB, T = 4k+1."""
    instruction: str
    seed: int = 0
    recipe: Recipe | None = None
    """None for editors without a sampler."""
    first_latent: int = 0
    """Absolute index within the shot of the clip's first latent frame; with `seed` it decides the noise."""
    deep: bool = False
    """16 bits are asked for: an editor that computes in floats gives them, one that computes in 8 bits gives those."""


class Editor(Protocol):
    """What edits a chunk. Made once a worker by `sama_model.editors.load`, then called for each chunk."""

    card: WeightsCard
    device: str
    """Where it runs, for people and for markers: `cpu`, or the accelerator's name."""

    def edit(self, request: EditRequest, progress: Progress) -> Frames:
        """Edit one clip; the result has the request's T, H and W.

        Raises:
            InstructionError: the instruction means nothing to this editor.
            ValueError: the clip's shape or the recipe does not fit the weights.
        """
        ...


class Checkpoint(Protocol):
    """Where an edit that takes long keeps how far it is; one place an edit."""

    def load(self) -> bytes | None:
        """What was saved last, by this process or one before it."""
        ...

    def save(self, data: bytes) -> None: ...


@runtime_checkable
class ShotEditor(Editor, Protocol):
    """An editor that can edit all windows of a shot as one."""

    def edit_together(
        self, requests: Sequence[EditRequest], progress: Progress, checkpoint: Checkpoint
    ) -> list[Frames]:
        """Edit one shot; `requests` are its windows, in order. Each result has its request's T, H and W, and where
        windows overlap, results are equal.

        Raises:
            InstructionError, ValueError: as `edit`; windows that leave a gap, or a recipe with a step cache.
        """
        ...


@runtime_checkable
class PromptEditor(Editor, Protocol):
    """An editor that reads instructions as prompts, of which only so much fits."""

    def cut_tokens(self, instruction: str) -> int:
        """Tokens at the instruction's end that it does not read; 0: it reads all of it."""
        ...


@runtime_checkable
class LatentEditor(Editor, Protocol):
    """An editor that works on latents: no result of it is better than what its VAE makes of the perfect one."""

    def round_trip(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(T, H, W, 3), T = 4k+1, encoded and decoded, nothing else."""
        ...


def unused_progress(done: int, total: int) -> None:
    """A `Progress` for callers that do not care."""


def array_of(frames: Any) -> npt.NDArray[np.uint8]:
    """`frames` as a contiguous (T, H, W, 3) uint8 array.

    Raises:
        ValueError: another shape or dtype; the message says which.
    """
    array = np.ascontiguousarray(frames)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or array.shape[0] == 0:
        raise ValueError(f"an editor takes (T, H, W, 3) uint8 RGB frames, not {array.shape} {array.dtype}")
    return array


def without_recipe(request: EditRequest, card: WeightsCard) -> None:
    """Refuse a sampling recipe where there is no sampler.

    Raises:
        ValueError: the request has one.
    """
    if request.recipe is not None:
        raise ValueError(f"editor '{card.editor}' has no sampler: it takes no steps, guidance or shift")
