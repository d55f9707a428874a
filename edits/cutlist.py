"""A cut list that somebody else made: where shots begin, as a CSV with a position a line or as a CMX3600 EDL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edits.errors import CellError, SourceError
from edits.timecode import Position, parse_position

_EVENT = re.compile(r"\d+\s+\S+\s+V\d*\s+\S+(?:\s+\d+)?\s+(\S+)\s+\S+\s+\S+\s+\S+", re.IGNORECASE)
"""An EDL's event on a video track: number, reel, track, transition, source in, source out, record in, record out."""
MAX_BYTES = 16 << 20


def read_cuts(path: Path) -> tuple[Position, ...]:
    """The positions at which a shot begins, as written; whether they lie on a source is another question.

    Of an EDL these are the source-in points of its video events. A CSV's first line may be a heading; then the first
    column counts, and without one a line is a position and nothing else.

    Raises:
        SourceError: the file cannot be read, a line is no position or more than one, or there is none.
    """
    text = _text(path)
    if path.suffix.lower() == ".edl":
        return tuple(_of_edl(path, text))
    return tuple(_of_csv(path, text))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: the cut list cannot be read: {error.strerror}. Check the path") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path}: a cut list has at most {MAX_BYTES >> 20} MiB; check that the right file is named")
    return data.decode("utf-8-sig", errors="replace")


def _of_edl(path: Path, text: str) -> Iterator[Position]:
    found = False
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _EVENT.match(line.strip()):
            found = True
            yield _position(path, number, match[1])
    if not found:
        raise SourceError(f"{path}: no video event of a CMX3600 EDL is in it")


def _of_csv(path: Path, text: str) -> Iterator[Position]:
    headed = found = False
    for number, line in enumerate(text.splitlines(), start=1):
        cell, *others = (each.strip().strip('"') for each in re.split(r"[,;\t]", line))
        if number == 1 and cell and not any(character.isdigit() for character in cell):
            headed = True
        elif any(others) and not headed:
            raise SourceError(
                f"{path}, line {number}: {line.strip()!r}: more than one position. Write one a line, or a heading over "
                "the columns, of which the first counts"
            )
        elif cell:
            found = True
            yield _position(path, number, cell)
    if not found:
        raise SourceError(f"{path}: no position is in it. Leave the cell `cuts` empty to have the cuts found")


def _position(path: Path, line: int, text: str) -> Position:
    try:
        return parse_position(text)
    except CellError as error:
        raise SourceError(f"{path}, line {line}: {text!r}: {error}") from error
