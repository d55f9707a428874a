"""The model-free grades: which instructions they understand, and what they do to colours."""

from __future__ import annotations

import numpy as np
import pytest

from sama_model.editors import check_instruction
from sama_model.editors.base import InstructionError
from sama_model.editors.grade import GRADES, NAMES, grade_of

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("instruction", "name"),
    [
        ("make it sepia please", "sepia"),
        ("Sepia-toned!", "sepia"),
        ("Turn the video into greyscale", "grayscale"),
        ("grayscale", "grayscale"),
        ("I want this in Black and White.", "grayscale"),
        ("b&w", "grayscale"),
        ("INVERT the colours", "invert"),
        ("make the picture a little warmer", "warmer"),
        ("cooler tones", "cooler"),
        ("posterise it", "posterise"),
        ("Posterize the clip", "posterise"),
        ("make it grey, a grey picture", "grayscale"),
    ],
)
def test_a_polite_sentence_names_one_grade(instruction: str, name: str) -> None:
    assert grade_of(instruction) == name
    check_instruction("grade", instruction)


@pytest.mark.parametrize(
    ("instruction", "problem"),
    [
        ("turn the dog into a cat", "does not understand 'dog'"),
        ("make it nicer", "does not understand 'nicer'"),
        ("make it a video, please", "no grade is named"),
        ("m\u00e4ke it sepia", "grade does not understand 'm\u00e4ke': grade knows grayscale, sepia"),
        ("make it warmer and cooler", "warmer and cooler at once"),
        ("sepia, then invert", "sepia and invert at once"),
        ("give the warm cat a hat", "does not understand 'cat'"),
        ("do not make it sepia", "does not understand 'not'"),
        ("don't make it sepia", "does not understand 'don't'"),
        ("sepia 50%", "does not understand '50'"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_is_known(instruction: str, problem: str) -> None:
    with pytest.raises(InstructionError) as caught:
        check_instruction("grade", instruction)
    message = str(caught.value)
    assert problem in message
    assert "grade knows grayscale, sepia, invert, warmer, cooler, posterise" in message


def test_a_long_instruction_is_shown_shortened() -> None:
    with pytest.raises(InstructionError) as caught:
        grade_of("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_every_name_has_its_grade() -> None:
    assert set(NAMES) == set(GRADES)


def test_grayscale_is_bt709_luma_in_every_channel() -> None:
    gray = GRADES["grayscale"](PICTURE)
    exact = PICTURE @ np.array([0.2126, 0.7152, 0.0722])
    assert np.array_equal(gray[..., 0], gray[..., 1])
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert np.abs(gray[..., 0] - exact).max() < 0.52


def test_sepia_of_a_gray_is_brown() -> None:
    red, green, blue = GRADES["sepia"](np.full((1, 1, 3), 128, dtype=np.uint8))[0, 0]
    assert red > 128 > green > blue


def test_inverting_twice_changes_nothing() -> None:
    assert np.array_equal(GRADES["invert"](GRADES["invert"](PICTURE)), PICTURE)
    assert GRADES["invert"](np.array([[[0, 100, 255]]], dtype=np.uint8)).ravel().tolist() == [255, 155, 0]


@pytest.mark.parametrize(("name", "sign"), [("warmer", 1), ("cooler", -1)])
def test_warmth_moves_red_and_blue_apart_and_leaves_black_and_white(name: str, sign: int) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=-1)
    moved = GRADES[name](ramp).astype(int) - ramp
    assert (sign * moved[0, 1:-1, 0] >= 0).all()
    assert (sign * moved[0, 1:-1, 2] <= 0).all()
    assert (moved[0, 128, 0], moved[0, 128, 1], moved[0, 128, 2]) == (24 * sign, 0, -24 * sign)
    assert np.abs(moved[0, [0, 255]]).max() == 0


def test_posterise_keeps_five_shades_from_black_to_white() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=-1)
    assert np.unique(GRADES["posterise"](ramp)).tolist() == [0, 63, 127, 191, 255]
