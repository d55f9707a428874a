"""What rows may ask for, read off the model's cards. No torch: cards are plain data."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from edits.catalogue import Card, Catalogue, EditorEntry
from edits.errors import InstructionError, WeightsError
from edits.settings import Settings
from sama_model.cards import all_cards
from sama_model.config import WeightsCard
from sama_model.editors import check_instruction
from sama_model.editors.base import InstructionError as ModelInstructionError
from sama_model.errors import WeightsError as ModelWeightsError

_JOINT = frozenset({"sama"})
"""Editors that are a `ShotEditor`."""

_DETAILS = {"grade": "tone"}
"""A grade changes tone alone: the source keeps its detail everywhere."""


def build_catalogue(settings: Settings) -> Catalogue:
    """Every editor with its weights; the first card of an editor is its default unless the settings name another.

    Raises:
        WeightsError: a card in the weights folder cannot be used.
    """
    weights: dict[str, dict[str, Card]] = defaultdict(dict)
    for (editor, name), card in _cards(settings.weights_folder).items():
        weights[editor][name] = card
    return {
        editor: EditorEntry(
            name=editor,
            weights=cards,
            default_weights=settings.default_weights.get(editor, next(iter(cards))),
            check_instruction=partial(_check, editor),
            joint=editor in _JOINT,
            default_detail=_DETAILS.get(editor, "full"),
        )
        for editor, cards in weights.items()
    }


def _cards(weights_folder: Path) -> dict[tuple[str, str], WeightsCard]:
    try:
        return all_cards(weights_folder)
    except ModelWeightsError as error:
        raise WeightsError(str(error)) from error


def _check(editor: str, instruction: str) -> None:
    try:
        check_instruction(editor, instruction)
    except ModelInstructionError as error:
        raise InstructionError(str(error)) from error
