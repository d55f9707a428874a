"""The table of editors and weights, for whoever plans: what each can be asked for. No torch here."""

from __future__ import annotations

from sama_model.config import Geometry, Recipe, WeightsCard

SAMA_GEOMETRY = Geometry(chunk_frames=81, stride=64, lead=4)
"""SAMA-14B's: overlap 17 = 4k+1."""

SAMA_PIXELS = 480 * 832

TINY_DIGEST = "245e31898e4105931a9fe628d2bbfbf04ffec51375488bb146c7cce9b27844f3"
"""`sama_model.weights.digest_of` over the tensors of `sama_model.tiny`, each name with its network before it."""


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
        ("fast", Recipe(steps=2, guidance=5.0, shift=5.0)),
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


def editors() -> tuple[str, ...]:
    """Names of all editors."""
    return tuple(dict.fromkeys(editor for editor, _ in CARDS))


def card(editor: str, weights: str) -> WeightsCard:
    """The card of these weights of this editor.

    Raises:
        ValueError: an unknown editor or weights; the message names the known ones.
    """
    if editor not in editors():
        raise ValueError(f"there is no editor '{editor}'; there are {', '.join(editors())}")
    if (editor, weights) not in CARDS:
        known = ", ".join(name for of, name in CARDS if of == editor)
        raise ValueError(f"editor '{editor}' has no weights '{weights}'; it has {known}")
    return CARDS[editor, weights]
