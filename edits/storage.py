"""The store: inputs, chunks, markers and dispatches under one URI, a local folder or S3. Owns every path in it.

Correctness rests on neither listings nor conditional writes: an object appears whole or not at all, and is believed
because its size is right. Knows no jobs, no Prefect and no model.
"""

from __future__ import annotations

import builtins
import copy
import json
import os
import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from edits import wire
from edits.backends import PART, Folder, Upload, is_no_bucket, open_backend, part_of, problem
from edits.errors import PermanentError, RecordError, SamaflowError, StoreError, TrustError
from edits.job import Marker, WorkerStatus

PAUSES = (0.2, 0.8, 2.0, 5.0)
"""Seconds before each further attempt at what the store did not answer; each is varied by half."""

T = TypeVar("T")


class _MissingError(RecordError):
    """The store answered, and what it was asked for is not there."""


class Store:
    """One folder or one S3 prefix. Paths are relative to it, with `/`, without `.` and `..`.

    Every method raises:
        StoreError: the store did not answer (after the pauses), is full, or its folder is gone.
        PermanentError: it refuses (rights, an impossible name, no such bucket).
        TrustError: a path that leaves the store.
    """

    def __init__(self, uri: str, *, endpoint_url: str | None = None, pauses: Sequence[float] = PAUSES) -> None:
        """Open `file:///folder`, `/folder` or `s3://bucket/prefix`; nothing is read or made yet.

        Without `endpoint_url`, S3 is where the AWS settings of the environment say (`AWS_ENDPOINT_URL`).

        Raises:
            SettingsError: another scheme, a relative folder, no bucket, or an endpoint for a folder.
        """
        self._backend = open_backend(uri, endpoint_url)
        self._pauses = tuple(pauses)

    def with_pauses(self, pauses: Sequence[float]) -> Store:
        """The same store with more patience, or with less."""
        twin = copy.copy(self)
        twin._pauses = tuple(pauses)
        return twin

    def uri(self, path: str = "") -> str:
        """The absolute URI of `path`, or of the store itself."""
        return self._backend.uri(_checked(path) if path else "")

    def local(self, path: str) -> Path | None:
        """The file itself when the store is a folder (it need not exist), else None."""
        checked = _checked(path)
        return self._backend.folder / checked if isinstance(self._backend, Folder) else None

    def read(self, path: str) -> bytes:
        """The object's bytes.

        Raises:
            RecordError: it is not there.
        """
        data = self.read_or_none(path)
        if data is None:
            raise self._absent(path)
        return data

    def read_or_none(self, path: str) -> bytes | None:
        """The object's bytes, or None when it is not there."""
        try:
            return self._attempt("read", path, lambda: self._backend.read(path))
        except _MissingError:
            return None

    def read_part(self, path: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)` of an object.

        Raises:
            RecordError: it is not there.
        """
        return self._attempt("read", path, lambda: self._backend.read_part(path, start, end))

    def size(self, path: str) -> int | None:
        """Bytes, or None when there is no such object."""
        try:
            return self._attempt("look at", path, lambda: self._backend.size(path))
        except _MissingError:
            return None

    def modified(self, path: str) -> datetime:
        """When the object was written, in UTC; of one that was copied here, when that was.

        Raises:
            RecordError: it is not there.
        """
        try:
            return self._attempt("look at", path, lambda: self._backend.modified(path)).astimezone(UTC)
        except _MissingError:
            raise self._absent(path) from None

    def put_bytes(self, path: str, data: bytes) -> None:
        """Write a small object whole, replacing one of that name."""
        self._attempt("write", path, lambda: self._backend.put_bytes(path, data), len(data))

    def put_file(self, path: str, local: Path) -> None:
        """Copy a finished local file into the store, whole, and check its size there.

        Raises:
            StoreError: also when the object's size is not the file's.
        """
        size = local.stat().st_size
        self._attempt("write", path, lambda: self._backend.put_file(path, local), size)
        if (found := self.size(path)) != size:
            raise StoreError(f"{self.uri(path)}: {found} bytes are there after {size} were written")

    def fetch(self, path: str, local: Path) -> None:
        """Copy an object to a local file, which appears whole or not at all.

        Raises:
            RecordError: the object is not there.
        """
        size = self.size(path)
        if size is None:
            raise self._absent(path)
        part = part_of(local)
        try:
            self._attempt(f"copy to {local.parent} from", path, lambda: self._backend.get_file(path, part), size)
            if (found := part.stat().st_size) != size:
                raise StoreError(f"{self.uri(path)}: {found} bytes arrived of {size}")
            os.replace(part, local)
        finally:
            part.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is removed already."""
        with suppress(_MissingError):
            self._attempt("delete", path, lambda: self._backend.delete(path))

    def list(self, prefix: str = "") -> builtins.list[str]:
        """Paths of all objects under a folder of the store, sorted. For people and pruning, never the truth."""
        try:
            return self._attempt("list", prefix, lambda: self._backend.find(prefix))
        except _MissingError:
            return []

    def pending_uploads(self, older_than: timedelta) -> builtins.list[Upload]:
        """Uploads in parts that were begun so long ago and are not finished."""
        limit = datetime.now(UTC) - older_than
        found = self._attempt("list the uploads of", "", self._backend.uploads)
        return [upload for upload in found if upload.begun < limit]

    def abort_upload(self, upload: Upload) -> None:
        """Give up an upload; one that is gone is given up already."""
        with suppress(_MissingError):
            self._attempt("give up the upload of", "", lambda: self._backend.abort(upload))

    def _absent(self, path: str) -> SamaflowError:
        """Why there is nothing at `path`: a folder that went away is the disk's fault, not the path's."""
        if isinstance(self._backend, Folder) and not self._backend.folder.is_dir():
            return StoreError(f"cannot read {self.uri(path)}: the store's folder is not there; is its disk mounted?")
        return RecordError(f"cannot read {self.uri(path)}: it is not in the store")

    def _attempt(self, verb: str, path: str, call: Callable[[], T], needed: int = 0) -> T:
        """`call()`, again after each pause while the store does not answer; foreign errors translated."""
        where = f"cannot {verb} {self.uri(path)}"
        pauses = iter(self._pauses)
        while True:
            try:
                return call()
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise PermanentError(f"{where}: there is no such bucket; create it") from error
                raise _MissingError(f"{where}: it is not in the store") from error
            except self._backend.foreign as error:
                meaning, again = problem(error, where, needed)
                pause = next(pauses, None) if again else None
                if pause is None:
                    raise meaning from error
            time.sleep(pause * random.uniform(0.5, 1.5))


def _checked(path: str) -> str:
    """`path`, if it stays inside the store."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path or path.endswith(PART):
        raise TrustError(f"{path!r} is not a path inside the store")
    return path


# -- paths ------------------------------------------------------------------------------------------------------------


def input_folder(input_key: str) -> str:
    return f"inputs/{_name(input_key)}"


def input_path(input_key: str) -> str:
    return f"{input_folder(input_key)}/input.mov"


def input_record_path(input_key: str) -> str:
    return f"{input_folder(input_key)}/input.json"


def chunk_folder(chunk_key: str) -> str:
    return f"chunks/{_name(chunk_key)}"


def output_path(chunk_key: str, sha256: str) -> str:
    """Where an edited chunk lies: named by its own digest, so that two workers never fight over one file."""
    return f"{chunk_folder(chunk_key)}/output-{_name(sha256)[:16]}{_OUTPUT_SUFFIXES[0]}"


_OUTPUT_SUFFIXES = (".mov", ".mkv")
"""The first is written; the other was, and what is marked with it counts."""


def marker_path(chunk_key: str) -> str:
    return f"{chunk_folder(chunk_key)}/result.json"


def checkpoint_path(chunk_key: str) -> str:
    """How far the edit of a shot is, whose first window has this key. Rewritten as it goes on, gone when it is done."""
    return f"chunks/{_name(chunk_key)}/shot.safetensors"


def shard_path(dispatch_id: str, index: int) -> str:
    return f"dispatches/{_name(dispatch_id)}/{index}.json"


def status_path(dispatch_id: str, index: int, attempt: int, worker: str = "") -> str:
    """`worker` tells pods of one shard and attempt apart; a process needs none."""
    part = f".{_name(worker)}" if worker else ""
    return f"dispatches/{_name(dispatch_id)}/{index}.{attempt}{part}.status.json"


def withdrawn_path(dispatch_id: str) -> str:
    return f"dispatches/{_name(dispatch_id)}/withdrawn.json"


def plan_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/plan.json"


def qc_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/report/qc.json"


def delivery_path(job_id: str) -> str:
    """What was published for the job, so that a lost database can be made again."""
    return f"jobs/{_name(job_id)}/delivery.json"


def pictures_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/report/pictures.json"


def seams_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/report/seams.json"


def mask_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/report/mask.mkv"


def report_path(job_id: str, name: str) -> str:
    """A file of the folder that people open: the review page, its copy, its pictures."""
    return f"jobs/{_name(job_id)}/report/{name}"


def kept_deliverable_path(job_id: str, suffix: str) -> str:
    """A finished deliverable that waits for approval."""
    return f"jobs/{_name(job_id)}/deliverable{suffix}"


def kept_record_path(job_id: str) -> str:
    """Written after the deliverable that waits: it says that this one is whole."""
    return f"jobs/{_name(job_id)}/kept.json"


def preview_plan_path(job_id: str) -> str:
    return f"jobs/{_name(job_id)}/preview.json"


def manifest_page_path(manifest_id: str) -> str:
    return f"manifests/{_name(manifest_id)}/index.html"


def _name(key: str) -> str:
    """`key`, if it can be one part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key):
        raise TrustError(f"{key!r} is not a key: letters, digits, '-' and '_' only")
    return key


# -- what the objects say ---------------------------------------------------------------------------------------------


def valid_marker(store: Store, chunk_key: str) -> Marker | None:
    """The chunk's marker, if the output that it names is there with its size; else None.

    A marker that cannot be read, or that names another chunk or a file elsewhere, counts as none: the chunk is edited
    again and the new marker takes its place.
    """
    data = store.read_or_none(marker_path(chunk_key))
    if data is None:
        return None
    try:
        marker = wire.load(Marker, data, store.uri(marker_path(chunk_key)))
    except RecordError:
        return None
    names = [f"output-{marker.sha256[:16]}{suffix}" for suffix in _OUTPUT_SUFFIXES]
    named = marker.chunk_key == chunk_key and marker.output in names
    return marker if named and store.size(marked_path(marker)) == marker.size else None


def marked_path(marker: Marker) -> str:
    """Where the output lies that a valid marker names."""
    return f"{chunk_folder(marker.chunk_key)}/{marker.output}"


def withdrawn(store: Store, dispatch_id: str) -> frozenset[str]:
    """Chunk keys of the dispatch that nobody wants any more."""
    path = withdrawn_path(dispatch_id)
    data = store.read_or_none(path)
    return frozenset() if data is None else frozenset(wire.load(tuple[str, ...], data, store.uri(path)))


def withdraw(store: Store, dispatch_id: str, chunk_keys: Collection[str]) -> None:
    """Add to the chunks that nobody wants any more. One writer a dispatch: the flow that holds it."""
    keys = sorted(withdrawn(store, dispatch_id).union(chunk_keys))
    store.put_bytes(withdrawn_path(dispatch_id), json.dumps(keys).encode("ascii"))


def read_status(store: Store, dispatch_id: str, index: int, attempt: int, worker: str = "") -> WorkerStatus | None:
    """The status object of one worker; None when it has written none yet.

    Raises:
        RecordError: a status that cannot be read.
    """
    path = status_path(dispatch_id, index, attempt, worker)
    data = store.read_or_none(path)
    return None if data is None else wire.load(WorkerStatus, data, store.uri(path))


def workers_of(store: Store, dispatch_id: str) -> builtins.list[tuple[int, int, str]]:
    """(shard index, attempt, worker) of every status object: also of pods that are gone and nobody saw."""
    found = []
    for path in store.list(f"dispatches/{_name(dispatch_id)}"):
        match = re.fullmatch(r".*/(\d+)\.(\d+)(?:\.([A-Za-z0-9_-]+))?\.status\.json", path)
        if match is not None:
            found.append((int(match[1]), int(match[2]), match[3] or ""))
    return found


def read_statuses(store: Store, dispatch_id: str, indexes: Iterable[int], attempt: int) -> dict[int, WorkerStatus]:
    """The status objects of one attempt, by shard index; a worker that has written none yet is left out.

    Raises:
        RecordError: a status that cannot be read.
    """
    found = {index: read_status(store, dispatch_id, index, attempt) for index in indexes}
    return {index: status for index, status in found.items() if status is not None}
