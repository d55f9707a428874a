"""The manifest's columns, in one table: name, default, parser, help. A new column is one more entry.

Parsers see one cell's text and nothing else; what depends on the editor, the settings or the source comes later.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from edits.errors import CellError
from edits.seams import USUAL, parse_seams
from edits.timecode import HOW_TO_WRITE, Position, parse_position

MAX_INSTRUCTION = 4_000
MAX_SEED = 2**63 - 1
MAX_STEPS = 1_000
MAX_GUIDANCE = 50
MAX_PRIORITY = 1_000
MAX_HANDLES = 1_000
REVIEWS = ("required", "none")
"""`required`: the finished file waits until somebody approves it."""

_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff "
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
_SHORTENED_NUMBER = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")


def _text(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _place(text: str) -> str:
    """A path keeps its bytes: on most file systems another normalisation is another file."""
    return text


def clean_instruction(text: str) -> str:
    """NFC, runs of white space collapsed to one space.

    Raises:
        CellError: nothing visible is left, or more than `MAX_INSTRUCTION` characters.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    if not cleaned.strip(_INVISIBLE):
        raise CellError("the instruction is empty.", "Say what is to be changed: make it look like winter")
    if len(cleaned) > MAX_INSTRUCTION:
        raise CellError(f"{len(cleaned)} characters.", f"An instruction has at most {MAX_INSTRUCTION}.")
    return cleaned


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            if _SHORTENED_NUMBER.fullmatch(text):
                raise CellError("the spreadsheet shortened this number.", "Format the column as text, type it again.")
            raise CellError("not a whole number.", f"Write one from {low} to {high}.")
        value = int(text)
        if not low <= value <= high:
            raise CellError("out of range.", f"Write a whole number from {low} to {high}.")
        return value

    return parse


def audio_tracks(text: str) -> tuple[int, ...] | None:
    """`all` (None), `none` (empty), or numbers of tracks from 1: `1 3`. In the source's order, always.

    Raises:
        CellError: anything else.
    """
    word = text.strip().lower()
    if word in ("all", "none"):
        return None if word == "all" else ()
    numbers = re.split(r"[\s,;]+", word)
    if not all(re.fullmatch(r"[1-9][0-9]?", number) for number in numbers):
        raise CellError("not a choice of audio tracks.", "Write all, none, or their numbers: 1 3")
    tracks = sorted(int(number) for number in numbers)
    if len(set(tracks)) < len(tracks):
        raise CellError("a track is named twice.", "Write each number once: 1 3")
    return tuple(tracks)


_RATES = {"23.976": "24000/1001", "23.98": "24000/1001", "29.97": "30000/1001", "59.94": "60000/1001"}


def frame_rate(text: str) -> Fraction:
    """`24`, `25`, `24000/1001`; the usual short forms of the 1001 family mean it exactly.

    Raises:
        CellError: no rate, or one that nobody has.
    """
    if not re.fullmatch(r"[0-9]{1,9}(/[1-9][0-9]{0,8}|\.[0-9]{1,6})?", text):
        raise CellError("not a frame rate.", "Write 24, 25, 24000/1001 or 29.97.")
    rate = Fraction(_RATES.get(text, text))
    if not Fraction(1, 10) <= rate <= 1000:
        raise CellError("not a frame rate.", "Write one from 0.1 to 1000.")
    return rate


def cut_list(text: str) -> tuple[Position, ...] | str:
    """Positions with blanks between them, or else the path of a file that lists them."""
    try:
        return tuple(parse_position(word) for word in text.split())
    except CellError:
        return text


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise CellError("not a number.", f"Write one from {low:g} to {high:g}, with a point: 4.5")
        value = float(text)
        if not low <= value <= high:
            raise CellError("out of range.", f"Write a number from {low:g} to {high:g}.")
        return value

    return parse


def _review(text: str) -> str:
    if text not in REVIEWS:
        raise CellError("not a kind of review.", f"Write {' or '.join(REVIEWS)}, or leave the cell empty.")
    return "" if text == "none" else text


@dataclass(frozen=True)
class Column:
    """One column: `parse` turns a cell that is not empty into a value, an empty or absent one is `default`."""

    name: str
    parse: Callable[[str], object]
    help: str
    example: str
    default: object = ""
    required: bool = False
    sampler: bool = False
    """Means something only to editors with a sampler; the others refuse it."""


COLUMNS: tuple[Column, ...] = (
    Column(
        "source",
        _place,
        "The video: a path relative to the manifest, an absolute one, or a file: or s3: URI.",
        "clips/dog.mp4",
        required=True,
    ),
    Column("instruction", clean_instruction, "What to change, in plain words.", "make it sepia", required=True),
    Column("editor", _text, "What edits; empty: the settings' default.", "grade"),
    Column("weights", _text, "The editor's model; empty: the editor's default.", "tiny"),
    Column("preset", _text, "A sampling recipe of the weights; empty: their first.", "quality", sampler=True),
    Column("start", parse_position, f"First frame; empty: the first there is. {HOW_TO_WRITE}", "f120", None),
    Column("end", parse_position, f"The frame after the last; empty: the end. {HOW_TO_WRITE}", "12.5s", None),
    Column("seed", _integer(0, MAX_SEED), "Decides the noise; empty: 0.", "7", None, sampler=True),
    Column("steps", _integer(1, MAX_STEPS), "Denoising steps; empty: the preset's.", "30", None, sampler=True),
    Column(
        "guidance",
        _number(0, MAX_GUIDANCE),
        "How strongly the instruction is followed; empty: the preset's.",
        "4.5",
        None,
        sampler=True,
    ),
    Column("deliverable", _text, "The kind of file to deliver; empty: the settings' default.", "ffv1"),
    Column(
        "detail", _text, "How the source's detail comes back: full, tone, upscale; empty: as suits the editor.", "full"
    ),
    Column(
        "mask",
        _place,
        "Where the edit lies, white on black: a picture, or a video with as many frames; empty: it is found.",
        "masks/dog.png",
    ),
    Column(
        "output",
        _place,
        "A file (v### takes the next free version), or a folder (ends with / or is there already); empty: the "
        "settings' output folder.",
        "deliverables/dog_winter.mp4",
    ),
    Column("rate", frame_rate, "Frames a second of a sequence of pictures, which states none.", "24000/1001", None),
    Column("scope", _text, "Deliver the range, or the full source with only the range changed.", "full"),
    Column(
        "handles",
        _integer(0, MAX_HANDLES),
        "Frames before and after the range that are edited and delivered too; empty: 0.",
        "8",
        0,
    ),
    Column(
        "lut",
        _place,
        "Of camera log: a .cube file that shows it as the editor is to see it; undone in the deliverable.",
        "luts/logc3_to_709.cube",
    ),
    Column("fit", _text, "How the picture becomes the working size: squeeze or pad.", "pad"),
    Column("interlaced", _text, "What to do with interlaced frames: refuse or deinterlace.", "deinterlace"),
    Column("alpha", _text, "What to do with an alpha channel: refuse, carry or drop.", "carry"),
    Column(
        "audio",
        audio_tracks,
        "Which audio tracks are carried, in the source's order: all, none or their numbers.",
        "1 2",
        None,
    ),
    Column(
        "cuts",
        cut_list,
        "Where shots begin: positions (f120 f300), or a CSV or CMX3600 EDL file; empty: they are found.",
        "cuts/reel4.edl",
    ),
    Column(
        "seams",
        parse_seams,
        "How the chunks of a shot are joined: blend, blend:8 (so many frames) or joint (edited as one); empty: blend.",
        "joint",
        USUAL,
    ),
    Column(
        "shots",
        _text,
        "Shots, counted from 1, that are edited otherwise: with another seed or instruction; several with a semicolon.",
        "3 seed=7; 5 instruction=make it snow",
    ),
    Column("review", _review, "required: the finished file waits for approval; empty: none.", "required"),
    Column("project", _text, "Groups jobs in reports.", "winter campaign"),
    Column("priority", _integer(-MAX_PRIORITY, MAX_PRIORITY), "Larger goes first; empty: 0.", "10", 0),
    Column("notes", _text, "For people; decides nothing.", "client asked twice"),
)

BY_NAME = {column.name: column for column in COLUMNS}
REQUIRED = tuple(column.name for column in COLUMNS if column.required)
SAMPLER = tuple(column.name for column in COLUMNS if column.sampler)
