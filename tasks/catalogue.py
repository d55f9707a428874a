"""What rows may ask for, read off the model's cards. No torch: cards are plain data."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial

from edits.catalogue import Card, Catalogue, EditorEntry
from edits.errors import InstructionError
from edits.settings import Settings
from sama_model.cards import all_cards
from sama_model.editors import check_instruction
from sama_model.editors.base import InstructionError as ModelInstructionError
from sama_model.installed import installed

log = logging.getLogger(__name__)

_JOINT = frozenset({"sama"})
"""Editors that are a `ShotEditor`."""

_DETAILS = {"grade": "tone"}
"""A grade changes tone alone: the source keeps its detail everywhere."""


def build_catalogue(settings: Settings) -> Catalogue:
    """Every editor with its weights; the first card of an editor is its default unless the settings name another.

    Weights whose card cannot be used are left out, and the log says why.
    """
    weights: dict[str, dict[str, Card]] = defaultdict(dict)
    for (editor, name), card in all_cards(settings.weights_folder).items():
        weights[editor][name] = card
    for name, problem in installed(settings.weights_folder).broken.items():
        log.warning("weights '%s' are left out: %s", name, problem)
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


def _check(editor: str, instruction: str) -> None:
    try:
        check_instruction(editor, instruction)
    except ModelInstructionError as error:
        raise InstructionError(str(error)) from error
