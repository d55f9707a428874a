"""One clip of a cut, whatever kind of file the cut came in, and the cells of the manifest's row that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edits.errors import ManifestError


@dataclass(frozen=True)
class Clip:
    """A used part of a source."""

    number: int
    """In the cut, from 1; of an EDL, the event's number."""
    name: str
    """What the cut calls its media: a file's name, usually."""
    path: str
    """Where the cut says that its media lies; empty where it does not."""
    start: str
    """First frame, as a manifest writes it: `f120` or a timecode of the source."""
    end: str
    """The frame after the last."""
    instruction: str
    """What its notes say; empty: it is to be left as it is."""
    place: int = 0
    """In the cut, from 1, counting pictures alone: the two events of a dissolve share a number, and have two places."""


def media_of(clips: Sequence[Clip], beside: Path, folder: Path | None) -> tuple[Path, ...]:
    """The file that each clip uses: where the cut, which lies in `beside`, says, else the only one of its name in
    `folder` or below.

    Raises:
        ManifestError: none, or several, of any clip: all such are named at once; or no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise ManifestError(f"--media {folder}: there is no such folder. Check the path")
    inside = [path for path in folder.rglob("*") if path.is_file()] if folder is not None else []
    found = [(clip, _candidates(clip, beside, inside)) for clip in clips]
    wrong = [_problem(clip, len(files), folder) for clip, files in found if len(files) != 1]
    if wrong:
        remedy = "Name the folder of its media with --media" if folder is None else "Name another folder with --media"
        raise ManifestError(f"{'; '.join(wrong)}. {remedy}")
    return tuple(files[0] for _, files in found)


def _candidates(clip: Clip, beside: Path, inside: Sequence[Path]) -> list[Path]:
    """The file that the cut states; if there is none, those of its name; if none, those of its name without suffix."""
    stated = beside / clip.path
    if clip.path and stated.is_file():
        return [stated]
    name = Path(clip.path or clip.name)
    exact = [path for path in inside if path.name.casefold() == name.name.casefold()]
    return exact or [path for path in inside if path.stem.casefold() == name.stem.casefold()]


def _problem(clip: Clip, count: int, folder: Path | None) -> str:
    where = "" if folder is None else f" in {folder}"
    what = f"{count} files of that name are{where}" if count else f"there is no such file{where}"
    return f"clip {clip.number} uses '{clip.path or clip.name}', and {what}"


def row_of(clip: Clip, source: Path, cut: str, extra: dict[str, str]) -> dict[str, str]:
    """The cells that ask for the clip's edit; `extra` are the same for all clips."""
    return {
        "source": str(source.absolute()),
        "instruction": clip.instruction,
        "start": clip.start,
        "end": clip.end,
        **extra,
        "notes": f"{cut}, clip {clip.number}",
    }
