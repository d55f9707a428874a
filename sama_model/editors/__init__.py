"""The editors by name. Importing this, and checking an instruction, loads no torch."""

from __future__ import annotations

from collections.abc import Sequence

from sama_model import cards
from sama_model.config import Options
from sama_model.editors.base import Editor, InstructionError
from sama_model.editors.grade import GradeEditor, grade_of
from sama_model.editors.passthrough import PassthroughEditor


def load(editor: str, weights: str, options: Options = Options(), instructions: Sequence[str] = ()) -> Editor:  # noqa: B008
    """The editor with these weights, ready to edit; takes seconds to minutes for a model.

    `instructions` are those that will be asked for, so that they are encoded together.

    Raises:
        ValueError: an unknown editor, weights, or attention back end.
        sama_model.errors.WeightsError: the weights are not the ones on the card.
    """
    card = cards.card(editor, weights, options.weights_folder)
    if editor == "passthrough":
        return PassthroughEditor(card)
    if editor == "grade":
        return GradeEditor(card)
    from sama_model.editors.sama import load_sama  # torch is loaded here, and only for an editor that needs it

    return load_sama(card, options, instructions)


def check_instruction(editor: str, instruction: str) -> None:
    """Refuse an instruction that the editor could do nothing with.

    Raises:
        InstructionError: empty, or not among what the editor knows; the message lists that.
        ValueError: an unknown editor.
    """
    if editor not in cards.editors():
        raise ValueError(f"there is no editor '{editor}'; there are {', '.join(cards.editors())}")
    if not instruction.strip():
        raise InstructionError("the instruction is empty: say in a sentence what to change")
    if editor == "grade":
        grade_of(instruction)
