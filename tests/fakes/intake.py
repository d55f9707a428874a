"""A catalogue, cards and frame indexes that exist on paper only."""

from __future__ import annotations

from fractions import Fraction

from edits.catalogue import Catalogue, EditorEntry
from edits.errors import InstructionError
from edits.media.records import Colour, FrameIndex
from sama_model.config import Geometry, Recipe, WeightsCard

SAMA_GEOMETRY = Geometry(chunk_frames=81, stride=64, lead=4)
DELIVERABLES = ("h264", "prores_422_hq", "ffv1")
NTSC = Fraction(30000, 1001)


def make_card(editor: str = "grade", **changes: object) -> WeightsCard:
    """A card without a sampler, unless `recipes` are given."""
    fields: dict[str, object] = {
        "name": "builtin",
        "editor": editor,
        "editor_version": "1",
        "digest": "",
        "geometry": SAMA_GEOMETRY,
        "buckets": (),
        "max_pixels": 399360,
        "numerics": "uint8",
        "recipes": (),
        "seconds_per_frame": 0.5,
        "reference_device": "cpu",
    }
    return WeightsCard(**{**fields, **changes})  # type: ignore[arg-type]


SAMPLED = make_card(
    "sama",
    name="tiny",
    digest="d1",
    recipes=(("quality", Recipe(50, 5.0, 4.0)), ("fast", Recipe(20, 3.0, 4.0))),
)


def check_colour(instruction: str) -> None:
    """The fake `grade` knows two words."""
    if instruction not in ("sepia", "invert"):
        raise InstructionError(f"'{instruction}': known are sepia, invert.")


def accept(instruction: str) -> None:
    """The fake `sama` takes every instruction."""


def make_catalogue() -> Catalogue:
    return {
        "sama": EditorEntry("sama", {"tiny": SAMPLED}, "tiny", accept, joint=True),
        "grade": EditorEntry("grade", {"builtin": make_card()}, "builtin", check_colour),
    }


def make_index(frames: int = 300, rate: Fraction | None = Fraction(25), **changes: object) -> FrameIndex:
    """A constant-rate index whose time base is one frame, unless `pts` and `time_base` are given."""
    fields: dict[str, object] = {
        "sha256": "5" * 64,
        "size": 1000,
        "container": "mov",
        "stream": 0,
        "codec": "h264",
        "width": 640,
        "height": 360,
        "sample_aspect_ratio": Fraction(1),
        "pixel_format": "yuv420p",
        "bit_depth": 8,
        "colour": Colour("bt709", "bt709", "bt709", "tv"),
        "time_base": 1 / (rate or Fraction(25)),
        "pts": tuple(range(frames)),
        "last_duration": 1,
        "rate": rate,
        "cuts": (),
        "audio": (),
        "timecode": None,
        "reel": None,
    }
    return FrameIndex(**{**fields, **changes})  # type: ignore[arg-type]
