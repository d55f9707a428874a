"""Where a deliverable goes: the place that a row asks for, and the name that a file gets when the row gives none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from edits.errors import CellError, TrustError
from edits.settings import Settings
from edits.trust import Trust, file_uri, local_path, readable

MAX_NAME_BYTES = 255
"""What file systems take for one name."""
MAX_STEM = 80
"""Characters of a source's name that a default name keeps."""

REPRODUCED = "reproduced"
"""The folder of the state folder in which `samaflow reproduce` makes files again."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file, or a folder in which the deliverable gets a name of its own."""

    uri: str
    is_folder: bool

    @property
    def is_named(self) -> bool:
        """Whether it is one file and no other: neither a folder nor the next free version of a name."""
        return not self.is_folder and not is_open(self.uri)


def read_target(text: str, base: Path | str, trust: Trust) -> Target:
    """The place that `text` names, relative to the folder `base`: a folder if it ends with / or is one already.

    Raises:
        CellError: a name that no file can have.
        TrustError: outside what is allowed.
    """
    uri = trust.resolve(text, base)
    _refuse_unmeant(unquote(text) if text.startswith("file:") else text)
    if len(uri) > MAX_NAME_BYTES and len(unquote(uri).rpartition("/")[2].encode()) > MAX_NAME_BYTES:
        raise CellError("the name is too long.", f"A file's name has at most {MAX_NAME_BYTES} bytes.")
    return Target(uri, text.endswith(("/", "\\")) or _is_folder(uri))


def own_places(settings: Settings) -> tuple[str, ...]:
    """URIs of the folders that samaflow keeps for itself: no deliverable goes there."""
    folders = [file_uri(Path(os.path.realpath(settings.state_folder)))]
    store = settings.store
    folders.append(file_uri(Path(os.path.realpath(local_path(store)))) if store.startswith("file:") else store)
    return tuple(folder.rstrip("/") for folder in folders)


def refuse_own(uri: str, own: Iterable[str]) -> None:
    """Keep deliverables out of the folders `own`.

    Raises:
        CellError: `uri` is one of them, or lies below one.
    """
    for folder in own:
        if (uri == folder or uri.startswith(f"{folder}/")) and not uri.startswith(f"{folder}/{REPRODUCED}/"):
            raise CellError(
                f"lies in {readable(folder)}, which samaflow keeps for itself.", "Choose a place outside of it."
            )


def _is_folder(uri: str) -> bool:
    return uri.startswith("file:///") and os.path.isdir(unquote(uri[len("file://") :]))


def place_output(target: Target, name: str, suffixes: Sequence[str], trust: Trust) -> str:
    """The URI of the deliverable: the target itself, or `name` and the first of `suffixes` in its folder.

    Raises:
        CellError: the target's suffix is not one that the deliverable can be written with.
        TrustError: the file that is there leads out of what is allowed.
    """
    if not suffixes:
        raise CellError("no container holds this deliverable of this source.", "Choose another deliverable: ffv1, say.")
    if target.is_folder:
        return trust.resolve(f"./{name}{suffixes[0]}", target.uri)
    suffix = PurePosixPath(unquote(target.uri)).suffix
    if suffix.lower() not in suffixes:
        raise CellError(
            f"this deliverable cannot be written as '{suffix}'." if suffix else "the file's name has no suffix.",
            f"End it in {' or '.join(suffixes)}; a folder ends in /.",
        )
    return target.uri


_OPEN = re.compile(r"(?<![A-Za-z0-9])v(?P<digits>(?:#|%23){3,4})(?![#%A-Za-z0-9])")
"""`v###` or `v####` in a name, as URIs write it: a version that is still open."""


_UNMEANT = re.compile(r"(?<![A-Za-z0-9])[vV]#+(?![#A-Za-z0-9])|##+|\?\?+|%0[0-9]+d")
"""What people write for a number that is to be filled in, and no version that is left open."""


def _refuse_unmeant(text: str) -> None:
    """Keep names from being taken literally that ask for a number: all but one `v###` in the file's own name.

    Raises:
        CellError: another such word, a second one, or one in a folder's name.
    """
    folder, _, name = text.replace("\\", "/").rpartition("/")
    left = _UNMEANT.search(folder) or _UNMEANT.search(_OPEN.sub("", name, count=1))
    if left is not None:
        raise CellError(
            f"'{left[0]}' is no version that can be filled in.",
            "Write v### (or v####) once, in the file's name, for the next free version: shot_v###.mov",
        )


def is_open(uri: str) -> bool:
    """Whether the name asks for the next free version: `shot_v###.mov`."""
    return _OPEN.search(uri.rpartition("/")[2]) is not None


def open_version(uri: str, free: Callable[[str], bool]) -> str:
    """`uri` with the first version from 1 that is `free`, where it leaves that open: `shot_v001.mov`."""
    folder, _, name = uri.rpartition("/")
    match = _OPEN.search(name)
    if match is None:
        return uri
    width = len(match["digits"].replace("%23", "#"))
    number = 1
    while not free(version := f"{folder}/{name[: match.start()]}v{number:0{width}}{name[match.end() :]}"):
        number += 1
    return version


def next_version(uri: str, taken: Callable[[str], bool]) -> str:
    """`uri` with the next free version before its suffix: `x.mov`, `x_v002.mov`, `x_v003.mov`; `taken` says what is."""
    folder, _, name = uri.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    match = re.fullmatch(r"(.*[-._]v)([0-9]{3,4})", stem)
    base, width, number = (match[1], len(match[2]), int(match[2])) if match else (f"{stem}_v", 3, 1)
    while taken(version := f"{folder}/{base}{number + 1:0{width}}{dot}{suffix}"):
        number += 1
    return version


def default_name(source: str, editor: str, digest: str) -> str:
    """`<source stem>_<editor>_<8 digits>`: letters and digits of any script, `-`, `_` and `.`; all else becomes `_`."""
    stem = PurePosixPath(unquote(source)).stem
    kept = "".join(character if character.isalnum() or character in "-_." else "_" for character in stem)
    return f"{_short(kept.lstrip('.-')) or 'video'}_{editor}_{digest[:8]}"


def _short(stem: str) -> str:
    """At most `MAX_STEM` characters, and few enough bytes to leave room for the rest of the name."""
    return stem[:MAX_STEM].encode()[: MAX_NAME_BYTES - 80].decode(errors="ignore")


def folder_target(folder: str, base: Path | str, trust: Trust) -> Target:
    """The settings' output folder as a target.

    Raises:
        TrustError: not allowed; the message names the setting.
    """
    try:
        return Target(trust.resolve(folder, base), is_folder=True)
    except TrustError as error:
        raise TrustError(f"the settings' output folder ([paths] output): {error}") from error
