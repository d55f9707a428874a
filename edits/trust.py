"""Which places a manifest may name: schemes, and roots under which files must lie once symbolic links are followed.

Takes text that strangers wrote and gives back an absolute URI, or says no. Opens nothing.
"""

from __future__ import annotations

import copy
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote

from edits.errors import TrustError, quoted, shortened

SCHEMES = ("file", "s3")
"""All that the store and the media engine can read; settings may allow fewer."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):")
"""At least two letters: one letter before a colon is a Windows drive."""
_WINDOWS = re.compile(r"[A-Za-z]:|\\\\|//")
_FILE_OF_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,62}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Trust:
    """The rules of one run."""

    def __init__(self, roots: Iterable[str | Path], schemes: Collection[str], path_map: Mapping[str, str]) -> None:
        r"""`roots`: folders and `s3://bucket/prefix` URIs; `path_map`: foreign prefix (`Z:\footage`) to one of ours.

        Raises:
            TrustError: a root or a map's target that is not an absolute place of a known scheme.
        """
        self.schemes = tuple(scheme for scheme in SCHEMES if scheme in schemes)
        self.roots = tuple(dict.fromkeys(_root(str(root)) for root in roots))
        self._under = tuple((root, root.rstrip("/") + "/") for root in self.roots)
        longest_first = sorted(path_map.items(), key=lambda item: len(item[0]), reverse=True)
        self._map = tuple((_comparable(prefix).rstrip("/"), _root_text(target)) for prefix, target in longest_first)
        self._folders: dict[str, str] | None = None

    def remembering(self) -> Trust:
        """The same rules with a memory of where folders lead, for checking many names at one moment in time."""
        batch = copy.copy(self)
        batch._folders = {}
        return batch

    def resolve(self, uri: str, base: Path | str) -> str:
        """The absolute URI (`file:///...`, `s3://bucket/key`) of `uri`, which may be relative to the folder `base`.

        The file need not exist; links on the way to it are followed as far as they do.

        Raises:
            TrustError: outside the roots, of a scheme that is not allowed, or not clearly a place at all.
        """
        if not uri:
            raise TrustError("the path is empty. Name a file.")
        if match := _CONTROL.search(uri):
            raise TrustError(f"{_shown(uri)}: a path has no control characters (U+{ord(match[0]):04X}).")
        place = self._mapped(_path_of_file_uri(uri) if _scheme(uri) == "file" else uri)
        scheme = _scheme(place)
        if scheme and scheme not in self.schemes:
            raise TrustError(f"{_shown(uri)}: '{scheme}:' is not allowed. {self._allowed_schemes()}")
        if not scheme and str(base).startswith("s3:"):
            place, scheme = f"{str(base).rstrip('/')}/{place.removeprefix('./')}", "s3"
        if scheme == "s3":
            return self._object(uri, place)
        return self._file(uri, place, base)

    def _object(self, uri: str, place: str) -> str:
        self._allow_scheme(uri, "s3")
        found = _normal_object(place)
        if not self._inside(found):
            raise self._outside(uri, found)
        return found

    def _file(self, uri: str, place: str, base: Path | str) -> str:
        self._allow_scheme(uri, "file")
        _refuse_unclear(uri, place)
        folder = local_path(base) if isinstance(base, str) and _scheme(base) == "file" else base
        real = self._real(os.path.join(folder, place))
        if not self._inside(real):
            raise self._outside(uri, real)
        _refuse_devices(uri, real)
        return _quoted(real)

    def _real(self, path: str) -> str:
        """`os.path.realpath`, which looks at every folder on the way each time, or with one look when remembering."""
        folder, slash, name = path.rpartition("/")
        if self._folders is None or name in ("", ".", "..") or not slash:
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder or "/")
        real = f"{self._folders[folder].rstrip('/')}/{name}"
        return os.path.realpath(real) if os.path.islink(real) else real

    def _mapped(self, place: str) -> str:
        """`place` on this machine, when it begins with a mapped prefix.

        Raises:
            TrustError: a path of Windows that no prefix maps.
        """
        comparable = _comparable(place)
        for prefix, target in self._map:
            if comparable == prefix or comparable.startswith(prefix + "/"):
                rest = place[len(prefix) :].replace("\\", "/") if _WINDOWS.match(place) else place[len(prefix) :]
                return target.rstrip("/") + rest
        if _WINDOWS.match(place):
            raise TrustError(
                f"{_shown(place)}: a path of Windows. Map its beginning to a folder here in samaflow.toml, for example "
                f"[paths.map] '{place[:2]}\\' = '/mnt/footage'; a relative name with ':' is written ./name."
            )
        return place

    def _inside(self, found: str) -> bool:
        return any(found == root or found.startswith(prefix) for root, prefix in self._under)

    def _allow_scheme(self, uri: str, scheme: str) -> None:
        if scheme not in self.schemes:
            raise TrustError(f"{_shown(uri)}: '{scheme}:' is not allowed. {self._allowed_schemes()}")

    def _allowed_schemes(self) -> str:
        return f"Allowed: {', '.join(self.schemes) or 'none'} ([paths] schemes in samaflow.toml)."

    def _outside(self, uri: str, found: str) -> TrustError:
        leads = "" if found == uri else f" leads to {_shown(found)}, which"
        return TrustError(
            f"{_shown(uri)}:{leads} is outside the allowed folders ({', '.join(self.roots) or 'none'}). Allow its "
            "folder (--allow DIR, in a form Allowed folders; for good [paths] roots in samaflow.toml), "
            "or move the file."
        )


def local_path(uri: str) -> Path:
    """The path of a `file:` URI.

    Raises:
        TrustError: another scheme, another host, or not an absolute path.
    """
    if _scheme(uri) != "file":
        raise TrustError(f"{_shown(uri)}: not a file: URI.")
    return Path(_path_of_file_uri(uri))


def file_uri(path: Path) -> str:
    """The `file:///` URI of a path, percent-encoded: the inverse of `local_path`."""
    return _quoted(str(path.absolute()))


def readable(uri: str) -> str:
    """How a place is shown to people: a `file:` URI as the path that they can paste, anything else as it is."""
    return str(local_path(uri)) if _scheme(uri) == "file" else uri


# -- reading ----------------------------------------------------------------------------------------------------------


def _scheme(text: str) -> str:
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def _path_of_file_uri(uri: str) -> str:
    """The one path that a `file:` URI can mean on this machine (RFC 8089): `file:/p`, `file:///p`, `file://localhost/p`."""
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise TrustError(f"{_shown(uri)}: names the host '{shortened(host)}'. Write file:///path for a file here.")
        rest = slash + path
    if not rest.startswith("/"):
        raise TrustError(f"{_shown(uri)}: a file: URI needs an absolute path: file:///path. Or write the path alone.")
    if "?" in rest or "#" in rest:
        raise TrustError(f"{_shown(uri)}: write %3F for ? and %23 for # in a file: URI, or the path without file:.")
    return _decoded(uri, rest)


def _decoded(uri: str, path: str) -> str:
    try:
        path = unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise TrustError(f"{_shown(uri)}: its percent-encoding is not UTF-8.") from error
    if _CONTROL.search(path):
        raise TrustError(f"{_shown(uri)}: a path has no control characters.")
    return path[1:] if _FILE_OF_DRIVE.match(path) else path


def _quoted(path: str) -> str:
    return "file://" + quote_from_bytes(os.fsencode(path))


def _comparable(place: str) -> str:
    """For comparing prefixes: Windows knows no case and two slashes. Of the same length as `place`."""
    return place.replace("\\", "/").lower() if _WINDOWS.match(place) else place


def _normal_object(place: str) -> str:
    """`s3://bucket/key`, with nothing in it that S3, fsspec or a proxy could read as another key."""
    bucket, *segments = place[5:].rstrip("/").split("/")
    if place[3:5] != "//" or not _BUCKET.fullmatch(bucket):
        raise TrustError(f"{_shown(place)}: not an object's place. Write s3://bucket/key.")
    if "::" in place or "\\" in place:
        raise TrustError(f"{_shown(place)}: a key has no '::' and no backslash.")
    if any(segment in ("", ".", "..") for segment in segments):
        raise TrustError(f"{_shown(place)}: a key has no empty, '.' or '..' parts. Write it out.")
    return "/".join((f"s3://{bucket}", *segments))


def _refuse_unclear(uri: str, place: str) -> None:
    if place.startswith("~"):
        raise TrustError(f"{_shown(uri)}: ~ is a shell's word. Write the folder out, or ./~name for such a file.")
    if "\\" in place:
        raise TrustError(f"{_shown(uri)}: write / between folders, not a backslash.")


def _refuse_devices(uri: str, real: str) -> None:
    """A pipe or a device under a root would hang or flood whoever reads it."""
    try:
        mode = os.stat(real).st_mode
    except OSError:
        return  # Not there yet, or not readable: whoever opens it says which.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise TrustError(f"{_shown(uri)}: neither a file nor a folder. Name a regular file.")


# -- roots ------------------------------------------------------------------------------------------------------------


def _root_text(root: str) -> str:
    """A root as a plain path or an s3 URI."""
    scheme = _scheme(root)
    if scheme == "s3":
        return _normal_object(root)
    place = _path_of_file_uri(root) if scheme == "file" else root
    if not os.path.isabs(place):
        raise TrustError(f"{_shown(root)}: not an absolute folder or s3://bucket/prefix, as an allowed root must be.")
    return place


def _root(root: str) -> str:
    text = _root_text(root)
    return text if text.startswith("s3:") else os.path.realpath(text)


def _shown(uri: str) -> str:
    return quoted(uri, 200)
