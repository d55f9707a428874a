"""Numbered pictures in a folder as one source or deliverable: `sh010.####.png`, `sh010.%04d.dpx`, or the folder itself.

Finds files and nothing else. A gap in the numbers is an error: a sequence with a missing frame is not whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edits.errors import SourceError
from edits.keys import sha256_of

KINDS = (".png", ".dpx", ".tif", ".tiff", ".jpg", ".jpeg")
"""Suffixes of pictures that are read. Not EXR: it holds light, which only a display transform makes a picture."""
_PATTERN = re.compile(r"(?P<prefix>.*?)(?P<number>#+|%0\d{1,2}d)(?P<suffix>\.\w+)")
_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d{2,10})(?P<suffix>\.\w+)")
SHOWN = 5
"""Sequences that a message names."""


@dataclass(frozen=True)
class Sequence:
    """The files of one sequence, without a gap."""

    folder: Path
    prefix: str
    digits: int
    suffix: str
    first: int
    frames: int

    @property
    def pattern(self) -> str:
        """For ffmpeg's image2: the path with `%0Nd` in the place of the number."""
        folder, prefix, suffix = (str(part).replace("%", "%%") for part in (self.folder, self.prefix, self.suffix))
        return f"{folder}/{prefix}%0{self.digits}d{suffix}"

    @property
    def files(self) -> tuple[Path, ...]:
        numbers = range(self.first, self.first + self.frames)
        return tuple(self.folder / f"{self.prefix}{number:0{self.digits}}{self.suffix}" for number in numbers)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files)

    def sha256(self) -> str:
        """Digest over the files' names and digests, in order."""
        whole = hashlib.sha256()
        for path in self.files:
            whole.update(f"{sha256_of(path)}  {path.name}\n".encode())
        return whole.hexdigest()

    def mark(self) -> str:
        """Changes when any file does: over names, sizes and times."""
        whole = hashlib.sha256()
        for path in self.files:
            stat = path.stat()
            whole.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return whole.hexdigest()


def sequence_of(path: Path) -> Sequence | None:
    """The sequence that `path` names, or None where it names a single file or nothing that is there.

    Raises:
        SourceError: no such files, a gap, several sequences in the folder, or pictures of a kind that is not read.
    """
    match = _PATTERN.fullmatch(path.name)
    if match is None and not path.is_dir():
        return None
    folder = path if match is None else path.parent
    found = _found(folder, match)
    if len(found) != 1:
        if match is None and not found:
            return None
        raise SourceError(f"{path}: {_ambiguous(folder, found)}")
    (prefix, digits, suffix), numbers = next(iter(found.items()))
    _require_kind(path, suffix)
    return Sequence(folder, prefix, digits, suffix, _first(path, numbers), len(numbers))


def _found(folder: Path, wanted: re.Match[str] | None) -> dict[tuple[str, int, str], list[int]]:
    """Numbers by (prefix, digits, suffix); of a folder, pictures alone count."""
    found: dict[tuple[str, int, str], list[int]] = {}
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else iter(())
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None or name.startswith(".") or (wanted is not None and not _suits(match, wanted)):
            continue
        if wanted is None and match["suffix"].lower() not in (*KINDS, ".exr"):
            continue
        found.setdefault((match["prefix"], len(match["number"]), match["suffix"]), []).append(int(match["number"]))
    return found


def _ambiguous(folder: Path, found: Mapping[tuple[str, int, str], list[int]]) -> str:
    """Why it is not known which pictures are meant, and what could be written."""
    named = [f"{prefix}{'#' * digits}{suffix}" for prefix, digits, suffix in sorted(found or _found(folder, None))]
    shown = ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
    if found:
        return f"{len(found)} sequences of pictures are there; name one of them: {shown}"
    return f"no picture is called so; {f'there are {shown}' if named else 'no numbered picture is there at all'}"


def picture_of_sequence(path: Path) -> str | None:
    """How the sequence is written that a single numbered picture seems to be of; None for any other name."""
    match = _NUMBERED.fullmatch(path.name)
    if match is None or match["suffix"].lower() not in KINDS:
        return None
    return f"{match['prefix']}{'#' * len(match['number'])}{match['suffix']}"


def _suits(match: re.Match[str], wanted: re.Match[str]) -> bool:
    number = wanted["number"]
    digits = len(number) if number.startswith("#") else int(number[2:-1])
    return (match["prefix"], len(match["number"]), match["suffix"]) == (wanted["prefix"], digits, wanted["suffix"])


def _require_kind(path: Path, suffix: str) -> None:
    if suffix.lower() == ".exr":
        raise SourceError(
            f"{path}: EXR pictures hold light and no stated look, which is refused: write 16-bit PNG or 10-bit DPX "
            "through your display transform"
        )
    if suffix.lower() not in KINDS:
        raise SourceError(f"{path}: pictures of the kind {suffix} are not read; {', '.join(KINDS)} are")


def _first(path: Path, numbers: list[int]) -> int:
    numbers.sort()
    for expected, number in enumerate(numbers, start=numbers[0]):
        if number != expected:
            raise SourceError(f"{path}: picture {expected} is missing: the sequence is not whole. Copy it again")
    return numbers[0]
