"""The table of editors and weights, and what is asked of it."""

from __future__ import annotations

import pytest

from sama_model import cards
from sama_model.editors import check_instruction
from sama_model.editors.base import InstructionError


def test_every_card_is_found_under_its_own_names() -> None:
    assert {(card.editor, card.name): card for card in cards.CARDS.values()} == cards.CARDS
    assert cards.editors() == ("passthrough", "grade", "sama")


def test_an_unknown_editor_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no editor 'samma'; there are passthrough, grade, sama"):
        cards.card("samma", "tiny")
    with pytest.raises(ValueError, match="no editor 'samma'"):
        check_instruction("samma", "make it snow")


def test_unknown_weights_are_answered_with_the_editors_own() -> None:
    with pytest.raises(ValueError, match="no weights 'builtin'; it has tiny"):
        cards.card("sama", "builtin")


def test_the_default_recipe_comes_first() -> None:
    assert next(iter(dict(cards.card("sama", "tiny").recipes))) == "quality"


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (720, 1280), (500, 500), (3840, 1600), (2, 2)])
def test_tiny_works_at_no_more_than_its_largest_picture(size: tuple[int, int]) -> None:
    width, height = cards.card("sama", "tiny").working_size(*size)
    assert width * height <= 160 * 96
    assert max(width, height) <= 160


@pytest.mark.parametrize("editor", cards.editors())
def test_an_empty_instruction_is_refused(editor: str) -> None:
    with pytest.raises(InstructionError, match="empty"):
        check_instruction(editor, " \n")


@pytest.mark.parametrize("editor", ["passthrough", "sama"])
def test_editors_that_take_any_instruction_take_it(editor: str) -> None:
    check_instruction(editor, "turn the dog into a cat")
