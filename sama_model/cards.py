"""The table of editors and weights, for whoever plans: what each can be asked for. No torch here."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

from sama_model.config import APPROXIMATIONS, Geometry, Recipe, WeightsCard
from sama_model.installed import SHIPPED, installed

SAMA_GEOMETRY = Geometry(chunk_frames=81, stride=64, lead=4)
"""SAMA-14B's: overlap 17 = 4k+1."""

SAMA_PIXELS = 480 * 832

TINY_DIGEST = "245e31898e4105931a9fe628d2bbfbf04ffec51375488bb146c7cce9b27844f3"
"""`sama_model.weights.digest_of` over the tensors of `sama_model.tiny`, each name with its network before it."""


PRESETS: dict[str, Recipe] = {
    "quality": Recipe(steps=50, guidance=5.0, shift=5.0),
    "balanced": Recipe(steps=50, guidance=5.0, shift=5.0, guided=0.5),
    "fast": Recipe(steps=50, guidance=5.0, shift=5.0, guided=0.5, step_cache=0.05),
}
"""The released recipe, and what may be left out of it; only the first is what the weights were released with."""

TURBO: dict[str, Recipe] = {
    "turbo": Recipe(steps=4, guidance=1.0, shift=5.0),
    "turbo8": Recipe(steps=8, guidance=1.0, shift=5.0),
}
"""For weights with a distilled LoRA, which need no guidance. Nothing is claimed about what they look like."""

BUCKETS = (
    (896, 448), (832, 480), (768, 512), (736, 544), (704, 576), (672, 608), (640, 640), (608, 672),
    (576, 704), (544, 736), (512, 768), (512, 800), (480, 832), (448, 864), (448, 896),
)  # fmt: skip
"""The released working sizes, in the order in which the first nearest wins (models.md 1.1 step B)."""

RELEASED = WeightsCard(
    name="14b",
    editor="sama",
    editor_version="1",
    digest="",
    geometry=SAMA_GEOMETRY,
    buckets=BUCKETS,
    max_pixels=SAMA_PIXELS,
    numerics="bfloat16",
    recipes=tuple(PRESETS.items()),
    seconds_per_frame=9.3,
    reference_device="one H200 (748 s for 81 frames with attention 'fa3_fwd' and compiled blocks, random weights)",
)
"""What SAMA-14B's card says before its files are converted; they give the digest."""


def _model_free(editor: str, version: str, seconds_per_frame: float) -> WeightsCard:
    return WeightsCard(
        name="builtin",
        editor=editor,
        editor_version=version,
        digest="",
        geometry=SAMA_GEOMETRY,
        buckets=(),
        max_pixels=SAMA_PIXELS,
        numerics="uint8",
        recipes=(),
        seconds_per_frame=seconds_per_frame,
        reference_device="one CPU core",
    )


TINY = WeightsCard(
    name="tiny",
    editor="sama",
    editor_version="1",
    digest=TINY_DIGEST,
    geometry=Geometry(chunk_frames=17, stride=12, lead=4),
    buckets=((160, 96), (144, 80), (128, 96), (112, 112), (96, 128), (80, 144), (96, 160), (160, 80), (80, 160)),
    max_pixels=160 * 96,
    numerics="float32",
    recipes=(
        ("quality", Recipe(steps=4, guidance=5.0, shift=5.0)),
        ("balanced", Recipe(steps=4, guidance=5.0, shift=5.0, guided=0.5)),
        ("fast", Recipe(steps=4, guidance=5.0, shift=5.0, guided=0.5, step_cache=0.05)),
    ),
    seconds_per_frame=0.08,
    reference_device="one CPU core",
)
"""Random numbers that run on a CPU: they show the machinery, not quality."""

CARDS: dict[tuple[str, str], WeightsCard] = {
    (card.editor, card.name): card
    for card in (_model_free("passthrough", "1", 0.001), _model_free("grade", "1", 0.02), TINY)
}
"""By (editor, weights); an editor's first weights are its default."""


def all_cards(weights_folder: Path | None) -> dict[tuple[str, str], WeightsCard]:
    """`CARDS`, and those of weights that ship or are installed in a folder, and whose card can be used."""
    found = installed(SHIPPED).weights
    found |= installed(weights_folder).weights if weights_folder is not None else {}
    cards = [card for weights in found.values() for card in approximations(weights.card)]
    return CARDS | {(card.editor, card.name): card for card in cards if (card.editor, card.name) not in CARDS}


def approximations(card: WeightsCard) -> tuple[WeightsCard, ...]:
    """A card, and those of the same weights with one or more approximations, which are other numerics: other chunks."""
    names = [chosen for count in range(len(APPROXIMATIONS) + 1) for chosen in combinations(APPROXIMATIONS, count)]
    return tuple(
        replace(card, name="+".join([card.name, *chosen]), numerics="+".join([card.numerics, *chosen]))
        for chosen in names
    )


def editors() -> tuple[str, ...]:
    """Names of all editors."""
    return tuple(dict.fromkeys(editor for editor, _ in CARDS))


def card(editor: str, weights: str, weights_folder: Path | None = None) -> WeightsCard:
    """The card of these weights of this editor.

    Raises:
        ValueError: an unknown editor or weights; the message names the known ones.
        WeightsError: weights of that name are there, and their card cannot be used.
    """
    if editor not in editors():
        raise ValueError(f"there is no editor '{editor}'; there are {', '.join(editors())}")
    cards = all_cards(weights_folder)
    if (editor, weights) not in cards:
        if weights_folder is not None and (broken := installed(weights_folder).broken.get(weights.split("+")[0])):
            raise broken
        known = ", ".join(name for of, name in cards if of == editor)
        remedy = "; 'samaflow model convert' makes others" if editor == "sama" else ""
        raise ValueError(f"editor '{editor}' has no weights '{weights}'; it has {known}{remedy}")
    return cards[editor, weights]
