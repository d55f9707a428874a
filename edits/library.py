"""A library as it lies: which files below a root are meant, seen by name, size and time without opening one.

The root is a folder or an `s3://bucket/prefix`. Knows no database and no style; what is to be done with a file is
decided in `edits.survey`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from typing import Any
from urllib.parse import quote_from_bytes

from edits.backends import open_backend, problem
from edits.errors import SettingsError, SourceError, shortened
from edits.trust import local_path

VIDEOS = ("*.mp4", "*.mov", "*.mkv", "*.m4v", "*.webm")
"""Patterns of a library that names none."""


class Order(StrEnum):
    """Which file's turn is first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    SMALLEST = "smallest"
    LARGEST = "largest"


@dataclass(frozen=True, slots=True)
class LibraryFile:
    """One file, as a listing shows it."""

    uri: str
    folder: str
    """Below the root, with a slash at the end; empty in the root itself."""
    size: int
    mark: str
    """Modification time in nanoseconds, or the object's ETag: with the size, what stays while the bytes do."""
    changed: float
    """Unix seconds of the last modification."""


@dataclass(frozen=True)
class Listing:
    """What a scan found."""

    files: tuple[LibraryFile, ...]
    """Those that match, in no particular order."""
    seen: int
    """Files of any name."""
    unreadable: tuple[str, ...]
    """Folders that could not be looked into, with the reason."""


class Patterns:
    """Shell patterns, upper and lower case alike. One with a slash is held against the path below the root (where `*`
    matches slashes too), any other against the file's name."""

    def __init__(self, wanted: Iterable[str], unwanted: Iterable[str] = ()) -> None:
        """
        Raises:
            SettingsError: an empty pattern, or none at all.
        """
        self._wanted = [_compiled(pattern) for pattern in wanted]
        self._unwanted = [_compiled(pattern) for pattern in unwanted]
        if not self._wanted:
            raise SettingsError(f"patterns: none is given. Write some, for example {', '.join(VIDEOS[:2])}.")

    def match(self, path: str, name: str) -> bool:
        """Whether the file `name` at `path` below the root is meant."""
        return _any(self._wanted, path, name) and not _any(self._unwanted, path, name)


_Pattern = tuple[re.Pattern[str], bool]


def _compiled(pattern: str) -> _Pattern:
    text = pattern.strip().removeprefix("./").lstrip("/")
    if not text:
        raise SettingsError("patterns: one is empty. Write a name with wildcards, for example *.mp4 or rushes/*.mov.")
    return re.compile(translate(text), re.IGNORECASE), "/" in text


def _any(patterns: list[_Pattern], path: str, name: str) -> bool:
    return any(pattern.match(path if whole else name) for pattern, whole in patterns)


def scan(root: str, patterns: Patterns, avoid: Collection[str], endpoint_url: str | None = None) -> Listing:
    """List the library below `root` (a `file:` or `s3:` URI). Hidden folders and files are passed over, and so are the
    folders whose URIs are in `avoid` (results, state); links to folders are not followed.

    Raises:
        SourceError: the root is not there.
        PermanentError: it may not be listed.
        StoreError: the object store does not answer.
    """
    if root.startswith("file:"):
        return _scan_folder(root, patterns, {str(local_path(uri)) for uri in avoid if uri.startswith("file:")})
    top = root.rstrip("/") + "/"
    below = [uri.rstrip("/") + "/" for uri in avoid if uri.startswith(top)]
    return _scan_bucket(root, patterns, below, endpoint_url)


# -- folders ----------------------------------------------------------------------------------------------------------


def _scan_folder(root: str, patterns: Patterns, avoid: Collection[str]) -> Listing:
    top = str(local_path(root)).rstrip("/")
    found: list[LibraryFile] = []
    seen, unreadable, waiting = 0, [], [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(f"{top}/{below}") as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if entry.path not in avoid:
                            waiting.append(f"{below}{entry.name}/")
                        continue
                    seen += 1
                    if patterns.match(below + entry.name, entry.name):
                        found.extend(_entry(entry, below))
        except OSError as error:
            if not below:
                raise _no_root(top, error) from error
            unreadable.append(f"{shortened(below, 200)}: {error.strerror}")
    return Listing(tuple(found), seen, tuple(unreadable))


def _entry(entry: os.DirEntry[str], below: str) -> Iterator[LibraryFile]:
    """The file, unless it is gone already, a link to nowhere, or no file at all."""
    try:
        facts = entry.stat()
        regular = entry.is_file()
    except OSError:
        return
    if regular:
        uri = "file://" + quote_from_bytes(os.fsencode(entry.path.replace("//", "/")))
        yield LibraryFile(uri, below, facts.st_size, str(facts.st_mtime_ns), facts.st_mtime)


def _no_root(top: str, error: OSError) -> SourceError:
    return SourceError(
        f"library {top}: cannot be listed: {error.strerror}. Mount the disk it is on, or correct the library's folder."
    )


# -- buckets ----------------------------------------------------------------------------------------------------------


def _scan_bucket(root: str, patterns: Patterns, avoid: Collection[str], endpoint_url: str | None) -> Listing:
    top = root.rstrip("/")
    found = []
    objects = _objects(top, endpoint_url)
    for key, facts in objects.items():
        uri = f"s3://{key}"
        path = uri[len(top) + 1 :]
        name = path.rpartition("/")[2]
        hidden = any(part.startswith(".") for part in path.split("/"))
        if hidden or uri.startswith(tuple(avoid)) or not patterns.match(path, name):
            continue
        mark, changed = str(facts["ETag"]).strip('"'), facts["LastModified"].timestamp()
        found.append(LibraryFile(uri, path[: len(path) - len(name)], int(facts["size"]), mark, changed))
    return Listing(tuple(found), len(objects), ())


def _objects(top: str, endpoint_url: str | None) -> dict[str, dict[str, Any]]:
    backend = open_backend(top, endpoint_url)
    where = f"library {top}: cannot be listed"
    try:
        found: dict[str, dict[str, Any]] = backend.fs.find(backend.full(""), detail=True)
    except FileNotFoundError as error:
        raise SourceError(f"{where}: there is no such bucket. Check its name.") from error
    except backend.foreign as error:
        raise problem(error, where, 0)[0] from error
    if not found:
        raise SourceError(f"{where}: there is no object below it. Check the bucket and the prefix.")
    return found
