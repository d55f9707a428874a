"""The two places a store can lie, a folder and an S3 prefix, with the same few operations; for `edits.storage` alone.

Every write appears whole or not at all. `problem` translates the errors, and says whether seconds later may help.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem

from edits.errors import PermanentError, SamaflowError, SettingsError, StoreError

PART = ".part"
"""Suffix of a file on its way in; never listed, and left behind only by a process that was killed."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_HOPELESS = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ENOSYS, errno.ELOOP})
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})


@dataclass(frozen=True)
class Upload:
    """An upload in parts that is not finished: invisible, and paid for."""

    path: str
    """Within the bucket."""
    upload_id: str
    begun: datetime


class Backend:
    """A file system of fsspec and a root in it. Paths are relative to the root and were checked by the caller."""

    fs: Any
    root: str
    """Without a slash at the end."""
    foreign: tuple[type[Exception], ...] = (OSError,)
    """The kinds of error that its methods raise; `problem` translates them."""

    def uri(self, path: str) -> str:
        raise NotImplementedError

    def put_bytes(self, path: str, data: bytes) -> None:
        raise NotImplementedError

    def put_file(self, path: str, local: Path) -> None:
        raise NotImplementedError

    def full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def read(self, path: str) -> bytes:
        return cast(bytes, self.fs.cat_file(self.full(path)))

    def read_part(self, path: str, start: int, end: int) -> bytes:
        return cast(bytes, self.fs.cat_file(self.full(path), start=start, end=end))

    def size(self, path: str) -> int | None:
        """Bytes; None for a folder."""
        facts = self.fs.info(self.full(path))
        return int(facts["size"]) if facts["type"] == "file" else None

    def modified(self, path: str) -> datetime:
        return cast(datetime, self.fs.modified(self.full(path)))

    def get_file(self, path: str, local: Path) -> None:
        self.fs.get_file(self.full(path), str(local))

    def delete(self, path: str) -> None:
        self.fs.rm_file(self.full(path))

    def uploads(self) -> list[Upload]:
        """Uploads in parts that were begun and neither finished nor given up; a folder has none."""
        return []

    def abort(self, upload: Upload) -> None:
        """Give one up."""

    def find(self, folder: str) -> list[str]:
        """Paths of all finished objects under a folder."""
        names = cast(Iterable[str], self.fs.find(self.full(folder)))
        return sorted(name[len(self.root) + 1 :] for name in names if not name.endswith(PART))


class Folder(Backend):
    """A local or mounted folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = str(folder).rstrip("/")
        self.fs = LocalFileSystem()

    def uri(self, path: str) -> str:
        return (self.folder / path).as_uri()

    def put_bytes(self, path: str, data: bytes) -> None:
        _replace(self.folder / path, [data])

    def put_file(self, path: str, local: Path) -> None:
        _replace(self.folder / path, _blocks(local))


class Bucket(Backend):
    """A prefix in an S3 bucket."""

    def __init__(self, root: str, endpoint_url: str | None) -> None:
        import aiohttp  # here: a local store needs none of it, and it takes most of a second
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]
        from s3fs import S3FileSystem

        # botocore and s3fs repeat nothing: the store does, so that waits do not multiply. A cached listing is never
        # the truth, and neither is a file system that another part of the process has used.
        config = {"connect_timeout": 5, "read_timeout": 60, "retries": {"total_max_attempts": 1, "mode": "standard"}}
        self.fs = S3FileSystem(
            endpoint_url=endpoint_url, config_kwargs=config, use_listings_cache=False, skip_instance_cache=True
        )
        self.fs.retries = 1
        self.root = root
        self.foreign = (OSError, BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError)

    def uri(self, path: str) -> str:
        return f"s3://{self.full(path)}"

    def put_bytes(self, path: str, data: bytes) -> None:
        self.fs.pipe_file(self.full(path), data)

    def uploads(self) -> list[Upload]:
        bucket, _, prefix = self.root.partition("/")
        found: list[Upload] = []
        marks: dict[str, str] = {}
        while True:
            page = self.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marks)
            found += [Upload(item["Key"], item["UploadId"], item["Initiated"]) for item in page.get("Uploads", ())]
            if not page.get("IsTruncated"):
                return found
            marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort(self, upload: Upload) -> None:
        bucket = self.root.partition("/")[0]
        self.fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload.path, UploadId=upload.upload_id)

    def put_file(self, path: str, local: Path) -> None:
        # Never an open writer: an exception inside `with fs.open(..., "wb")` commits a truncated object.
        self.fs.put_file(str(local), self.full(path))


def open_backend(uri: str, endpoint_url: str | None) -> Backend:
    """The place that `file:///folder`, `/folder` or `s3://bucket/prefix` names; nothing is read or made.

    Raises:
        SettingsError: another scheme, a relative folder, no bucket, or an endpoint for a folder.
    """
    if uri.startswith("s3://"):
        root = uri.removeprefix("s3://").rstrip("/")
        if all(part not in ("", ".", "..") for part in root.split("/")):
            return Bucket(root, endpoint_url)
    elif endpoint_url is not None:
        raise SettingsError(f"{uri}: only an S3 store has an endpoint ({endpoint_url})")
    elif (path := _local_path(uri)) is not None:
        return Folder(path)
    raise SettingsError(f"{uri}: a store is file:///an/absolute/folder, /an/absolute/folder or s3://bucket/prefix")


def problem(error: Exception, where: str, needed: int) -> tuple[SamaflowError, bool]:
    """What a foreign error means, and whether another attempt within seconds may help. Not for FileNotFoundError."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return StoreError(f"{where}: no space left for {needed} bytes; make room and run again"), False
    if isinstance(error, PermissionError) or number in _FORBIDDEN:
        return PermanentError(f"{where}: permission denied ({error}); check the rights or credentials"), False
    if type(error).__name__ in _NO_CREDENTIALS:
        return PermanentError(f"{where}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"), False
    if number in _HOPELESS:
        return PermanentError(f"{where}: {error}"), False
    return StoreError(f"{where}: no answer: {type(error).__name__}: {error}"), True


def is_no_bucket(error: FileNotFoundError) -> bool:
    """Whether S3 says that the bucket itself is missing."""
    response = getattr(error.__cause__, "response", {})
    return bool(response.get("Error", {}).get("Code") == "NoSuchBucket")


def part_of(path: Path) -> Path:
    """A name beside `path` for a file on its way in."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}")


def _local_path(uri: str) -> Path | None:
    if re.match(r"file://(localhost)?/", uri):
        text = unquote("/" + uri.removeprefix("file://").partition("/")[2])
    else:
        text = uri
    return Path(os.path.normpath(text)) if text.startswith("/") else None


def _blocks(local: Path) -> Iterator[bytes]:
    with local.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _replace(path: Path, blocks: Iterable[bytes]) -> None:
    """Write `blocks` beside `path`, down to the disk, then give them its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        with part.open("xb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Without this a power cut may lose the name of a file whose bytes are safe."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
