"""A colour edit without a model: the instruction names one of six grades. Integers: the same bits everywhere.

Every word of the instruction must be understood: the name of one grade, or a word that asks for it politely. So 'make
it sepia, please' is done, and 'give the warm cat a hat' is refused instead of half done.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sama_model.config import WeightsCard
from sama_model.editors.base import EditRequest, Frames, InstructionError, Progress, array_of, without_recipe

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

NAMES: dict[str, tuple[str, ...]] = {
    "grayscale": ("grayscale", "greyscale", "gray", "grey", "monochrome", "desaturate", "desaturated"),
    "sepia": ("sepia",),
    "invert": ("invert", "inverted", "negative"),
    "warmer": ("warmer", "warm"),
    "cooler": ("cooler", "cool", "colder"),
    "posterise": ("posterise", "posterize", "posterised", "posterized"),
}
"""Each grade and the words that name it."""

PHRASES = {
    "black and white": "grayscale",
    "black & white": "grayscale",
    "black-and-white": "grayscale",
    "b&w": "grayscale",
}
"""Names of more than one word."""

POLITE = frozenset(
    re.findall(
        r"\w+",
        """a add all an and apply be bit can clip color colors colour colours convert could do edit effect everything
        film filter footage frame frames give grade have i image in into it like little look looking make more movie
        of our photo picture please scene shot slightly some style the this to tint tone toned tones turn version
        video want we whole with would you""",
    )
)
"""Words that ask without saying what."""


def grade_of(instruction: str) -> str:
    """Name of the one grade that the instruction asks for.

    Raises:
        InstructionError: no grade, more than one, or a word that is not understood.
    """
    text = instruction.casefold()
    for phrase, name in PHRASES.items():
        text = text.replace(phrase, name)
    words = re.findall(r"[\w'’&]+", text)
    by_word = {word: name for name, spellings in NAMES.items() for word in spellings}
    asked = list(dict.fromkeys(by_word[word] for word in words if word in by_word))
    unknown = [word for word in words if word not in by_word and word not in POLITE]
    known = f"grade knows {', '.join(NAMES)}; write for example 'make it {next(iter(NAMES))}'."
    if len(asked) > 1:
        raise InstructionError(f"{' and '.join(asked)} at once: name one; {known}")
    if unknown:
        raise InstructionError(f"grade does not understand {_shown(unknown[0])}: {known}")
    if not asked:
        raise InstructionError(f"no grade is named: {known}")
    return asked[0]


def _shown(word: str) -> str:
    return f"'{word if len(word) <= 80 else word[:79] + '…'}'"


# -- grades -----------------------------------------------------------------------------------------------------------

SHIFT = 14
"""Fraction bits of the integer weights below."""

LUMA = np.array([0.2126, 0.7152, 0.0722])
"""BT.709 luma of gamma-coded R, G, B."""

SEPIA = np.array([1.07, 0.89, 0.66])
"""R, G, B of the print per luma of the picture."""

WARMTH = 24
"""Levels by which the middle of the red channel rises and that of the blue one falls."""

POSTER_LEVELS = 5
"""Shades a channel keeps."""


def grayscale(picture: Picture) -> Picture:
    """Luma in all three channels."""
    return np.repeat(_luma(picture)[..., None], 3, axis=-1)


def sepia(picture: Picture) -> Picture:
    """Luma through a brown print."""
    table = np.rint(np.arange(256)[:, None] * SEPIA).clip(0, 255).astype(np.uint8)
    print_of: Picture = table[_luma(picture)]
    return print_of


def invert(picture: Picture) -> Picture:
    """Light for dark."""
    return np.subtract(np.uint8(255), picture)


def warmer(picture: Picture) -> Picture:
    """More red, less blue."""
    return _by_channel(picture, WARMTH)


def cooler(picture: Picture) -> Picture:
    """Less red, more blue."""
    return _by_channel(picture, -WARMTH)


def posterise(picture: Picture) -> Picture:
    """Few shades a channel."""
    shade = np.arange(256) * POSTER_LEVELS // 256
    table = (shade * 255 // (POSTER_LEVELS - 1)).astype(np.uint8)
    poster: Picture = table[picture]
    return poster


def _luma(picture: Picture) -> npt.NDArray[np.uint8]:
    red, green, blue = np.rint(LUMA * (1 << SHIFT)).astype(np.int32)
    channels = picture.astype(np.int32)
    total = channels[..., 0] * red + channels[..., 1] * green + channels[..., 2] * blue
    luma: npt.NDArray[np.uint8] = ((total + (1 << SHIFT - 1)) >> SHIFT).astype(np.uint8)
    return luma


def _by_channel(picture: Picture, warmth: int) -> Picture:
    """Red up and blue down by a curve that leaves black and white where they are."""
    level = np.arange(256)
    bend = np.rint(4 * warmth * level * (255 - level) / 255**2).astype(np.int64)
    tables = np.stack([level + bend, level, level - bend], axis=-1).clip(0, 255).astype(np.uint8)
    return np.stack([tables[picture[..., channel], channel] for channel in range(3)], axis=-1)


GRADES: dict[str, Callable[[Picture], Picture]] = {
    "grayscale": grayscale,
    "sepia": sepia,
    "invert": invert,
    "warmer": warmer,
    "cooler": cooler,
    "posterise": posterise,
}


class GradeEditor:
    """Grades a clip frame by frame; seed and position in the shot decide nothing."""

    device = "cpu"

    def __init__(self, card: WeightsCard) -> None:
        self.card = card

    def edit(self, request: EditRequest, progress: Progress) -> Frames:
        """The graded clip; a frame is a step.

        Raises:
            InstructionError: the instruction names no grade, or more than one.
            ValueError: an array that is no clip, or a sampling recipe.
        """
        without_recipe(request, self.card)
        frames = array_of(request.frames)
        grade = GRADES[grade_of(request.instruction)]
        graded = np.empty_like(frames)
        for i, picture in enumerate(frames):
            graded[i] = grade(picture)
            progress(i + 1, len(frames))
        return graded
