"""One clip of a cut, whatever kind of file the cut came in, and the cells of the manifest's row that it asks for."""

from __future__ import annotations

from collections.abc import Iterable
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


def media_of(clip: Clip, beside: Path, folder: Path | None) -> Path:
    """The file that the clip uses: where the cut says, else the only one of its name in `folder` or below.

    Raises:
        ManifestError: none, or several, or no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise ManifestError(f"--media {folder}: there is no such folder. Check the path")
    stated = beside / clip.path
    if clip.path and stated.is_file():
        return stated
    name = Path(clip.path or clip.name).name
    found = sorted(_named(name, folder)) if folder is not None else []
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} files of that name are in {folder}" if found else "there is no such file"
    remedy = "Name the folder of its media with --media" if folder is None else "Name another folder with --media"
    raise ManifestError(f"clip {clip.number} uses '{clip.path or clip.name}', and {what}. {remedy}")


def _named(name: str, folder: Path) -> Iterable[Path]:
    """Files called `name`; if there are none, those whose name without suffix is `name`'s."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    exact = [path for path in files if path.name.casefold() == name.casefold()]
    return exact or [path for path in files if path.stem.casefold() == Path(name).stem.casefold()]


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
