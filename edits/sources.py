"""Source videos as they lie: what identifies the bytes without reading them, and a local copy of a remote one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import fsspec

from edits.errors import SourceError, StoreError
from edits.keys import digest
from edits.sequence import KINDS, sequence_of
from edits.trust import local_path


@dataclass(frozen=True)
class Fingerprint:
    """What stays the same as long as the file does: a cheap stand-in for its digest."""

    uri: str
    size: int
    mark: str
    """Modification time in nanoseconds, or the object's ETag."""

    @property
    def key(self) -> str:
        return digest({"kind": "fingerprint/1", "uri": self.uri, "size": self.size, "mark": self.mark})[:32]


def fingerprint(uri: str, endpoint_url: str | None = None) -> Fingerprint:
    """Look the source up.

    Raises:
        SourceError: it is missing, a folder, or may not be read.
        StoreError: the object store does not answer.
    """
    if uri.startswith("file:"):
        return _local_fingerprint(uri, local_path(uri))
    try:
        info = _remote(endpoint_url).info(uri)
    except FileNotFoundError as error:
        raise SourceError(f"{uri}: there is no such object. Check the bucket and the key.") from error
    except PermissionError as error:
        raise SourceError(f"{uri}: may not be read with these credentials: {error}") from error
    except OSError as error:
        raise StoreError(f"{uri}: the object store does not answer: {error}") from error
    return Fingerprint(uri, int(info["size"]), str(info["ETag"]))


def copy_source(uri: str, mark: Fingerprint, folder: Path, endpoint_url: str | None = None) -> Path:
    """A local copy of a remote source, kept in `folder` under its fingerprint and made only once."""
    target = folder / f"{mark.key}{Path(uri).suffix}"
    if target.exists() and target.stat().st_size == mark.size:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        _remote(endpoint_url).get_file(uri, str(part))
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{uri}: could not be copied to {folder}: {error}") from error
    part.replace(target)
    return target


def _local_fingerprint(uri: str, path: Path) -> Fingerprint:
    pictures = sequence_of(path)
    if pictures is not None:
        return Fingerprint(uri, pictures.size, pictures.mark())
    try:
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}. Check the path in the manifest.") from error
    if not path.is_file():
        raise SourceError(
            f"{path}: is not a file. Name one video, or a folder of numbered pictures ({', '.join(KINDS)})."
        )
    if not stat.st_size:
        raise SourceError(f"{path}: is empty (0 bytes). Copy or download it again.")
    return Fingerprint(uri, stat.st_size, str(stat.st_mtime_ns))


def _remote(endpoint_url: str | None) -> fsspec.AbstractFileSystem:
    options = {"endpoint_url": endpoint_url} if endpoint_url else {}
    return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True, **options)
