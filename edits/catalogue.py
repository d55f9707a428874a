"""What a row may ask for: editors, their weights and what the plan must know of each. Filled from outside.

The protocols match `sama_model.config` by structure, so that the domain plans for a model without importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

DETAILS = ("full", "tone", "upscale")
"""How the source's resolution comes back. `full`: the source's own picture but where it was edited. `tone`: the same,
and outside the edit the source follows the model's tone. `upscale`: the edited picture alone, resized."""
OWN_DETAIL = "auto"
"""The detail that suits the editor."""

SCOPES = ("range", "full")
"""What is delivered: the frames asked for, or the whole source with only those changed."""

FITS = ("squeeze", "pad")
"""How a picture becomes the working size: each side scaled on its own, or in its shape with its edges repeated."""

INTERLACED = ("refuse", "deinterlace")
"""What becomes of an interlaced source."""

ALPHAS = ("refuse", "carry", "drop")
"""What becomes of a source's alpha channel: it is carried untouched, or left out."""


class Recipe(Protocol):
    """A preset, resolved."""

    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def shift(self) -> float: ...
    @property
    def guided(self) -> float: ...
    @property
    def step_cache(self) -> float: ...


class Geometry(Protocol):
    """How a shot is cut into chunks, in frames."""

    @property
    def chunk_frames(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def lead(self) -> int: ...
    @property
    def temporal_factor(self) -> int: ...


class Card(Protocol):
    """What the flow side knows of a set of weights without opening it."""

    @property
    def name(self) -> str: ...
    @property
    def editor(self) -> str: ...
    @property
    def editor_version(self) -> str: ...
    @property
    def digest(self) -> str:
        """sha256 over the weights; empty for editors without a model."""
        ...

    @property
    def geometry(self) -> Geometry: ...
    @property
    def numerics(self) -> str: ...
    @property
    def recipes(self) -> tuple[tuple[str, Recipe], ...]:
        """Presets by name, the default first; empty for editors without a sampler."""
        ...

    @property
    def seconds_per_frame(self) -> float:
        """On `reference_device`, at the default recipe."""
        ...

    @property
    def reference_device(self) -> str: ...
    @property
    def peaks(self) -> tuple[tuple[str, int], ...]:
        """Predicted device memory in bytes for one chunk by exact profile, the fastest first; empty: it needs none."""
        ...

    @property
    def converter(self) -> str:
        """What made the weights' files of the released ones; empty when nothing did."""
        ...

    @property
    def loras(self) -> str:
        """LoRAs in the weights, with scale and digest."""
        ...

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which a source of that display size is edited."""
        ...


@dataclass(frozen=True)
class EditorEntry:
    """One editor, as rows name it."""

    name: str
    weights: Mapping[str, Card]
    """By the name that rows use."""
    default_weights: str
    check_instruction: Callable[[str], None]
    """Raises `edits.errors.InstructionError`, which says what the editor knows."""
    joint: bool = False
    """Whether it can edit all chunks of a shot as one."""
    default_detail: str = "full"
    """One of `DETAILS`: what suits the editor where neither row nor settings say."""


Catalogue = Mapping[str, EditorEntry]
"""By the editor's name."""
