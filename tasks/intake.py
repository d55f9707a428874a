"""From a manifest's bytes to rows that can run, and from a source's URI to its frame index: each decoded once."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import sql
from edits import wire
from edits.errors import (
    BadRowError,
    ManifestError,
    RecordError,
    RowError,
    SourceError,
    UnreadableError,
    by_row,
    sentence,
    shortened,
    without,
)
from edits.keys import sha256_of
from edits.manifest import ManifestRow, read_manifest, validate_rows
from edits.media import child
from edits.media.deliverables import DELIVERABLES
from edits.media.records import INDEX_VERSION, FrameIndex, IndexRequest
from edits.sources import Fingerprint, copy_source, fingerprint
from edits.spreadsheet import MAX_BYTES, check_size
from edits.trust import local_path
from tasks.run import Run


@dataclass(frozen=True)
class Order:
    """A manifest after reading: what will run and what cannot."""

    manifest_id: str
    name: str
    rows: tuple[ManifestRow, ...]
    """Higher priority first, then in the manifest's order."""
    errors: tuple[RowError, ...]
    report_name: str = ""
    """Of the report's file; empty: the manifest's id."""

    @property
    def bad_rows(self) -> tuple[BadRowError, ...]:
        """The rows that cannot run, in order of line: a row may have several errors."""
        return by_row(self.errors)


def take_in(run: Run, data: bytes, name: str, folder: Path | str) -> Order:
    """Validate a manifest's text and record it. `folder` is what its relative paths are relative to.

    Raises:
        ManifestError: nothing in it can be used.
    """
    order = read_order(run, data, name, folder)
    sha256 = hashlib.sha256(data).hexdigest()
    sql.record_manifest(run.db, order.manifest_id, name, sha256, len(order.rows) + len(order.bad_rows), data)
    sql.record_row_failures(run.db, order.manifest_id, [(row.line, row.category, str(row)) for row in order.bad_rows])
    return order


def read_order(run: Run, data: bytes, name: str, folder: Path | str) -> Order:
    """Validate a manifest's text, recording nothing.

    Raises:
        ManifestError: nothing in it can be used.
    """
    manifest = read_manifest(data, name)
    rows, errors = validate_rows(manifest, run.catalogue, DELIVERABLES, run.settings, run.trust, folder)
    for row in rows:
        run.board.add(row.line, f"{unquote(Path(row.source).name)} · {row.editor}")
    by_priority = sorted(rows, key=lambda row: (-row.priority, row.line))
    return Order(manifest.manifest_id, name, tuple(by_priority), errors)


def read_manifest_file(path: Path, written: str = "") -> bytes:
    """The manifest's bytes. `written`: how the caller named it, for messages.

    Raises:
        ManifestError: there is no such file, it is no regular file, it is too large, or it cannot be read.
    """
    shown = written or str(path)
    try:
        facts = path.stat()
        check_size(facts.st_size, shown)
        if not stat.S_ISREG(facts.st_mode):
            raise ManifestError(f"{shown}: the manifest is not a regular file. Give the path of a CSV file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(
            f"{shown}: the manifest cannot be read: {error.strerror}. Give the path of a CSV file."
        ) from error
    check_size(len(data), shown)
    return data


def source_file(run: Run, uri: str) -> Path:
    """The source as a local file: itself, or a copy fetched once a run from an object store."""
    if uri.startswith("file:"):
        return local_path(uri)
    with run.lock(f"copy {uri}"):
        endpoint = run.settings.endpoint_url
        return copy_source(uri, fingerprint(uri, endpoint), run.settings.state_folder / "sources", endpoint)


def proven(run: Run, uri: str, action: Literal["still", "lut"]) -> str:
    """Digest of a file that rows name beside their source, gone through by a media child: once a run, however many
    rows name it.

    Raises:
        OSError: it cannot be read.
        SourceError: it is not what the child's `action` asks for.
    """
    path = source_file(run, uri)
    digest = sha256_of(path)
    with run.lock(f"{action} {digest}"):
        if (action, digest) not in run.proven:
            child.run(action, path, run.limits)
            run.proven.add((action, digest))
    return digest


def index_of_row(run: Run, row: ManifestRow, *, quick: bool = False) -> FrameIndex:
    """`index_of` the row's source.

    Raises:
        UnreadableError: as its SourceError, with line and column.
    """
    try:
        return index_of(run, row.source, row.line, rate=row.rate, quick=quick)
    except SourceError as error:
        raise unreadable(row.line, "source", row.source_text, error) from error


def unreadable(line: int, column: str, value: str, error: SourceError) -> UnreadableError:
    """The error at the cell that names the file."""
    return UnreadableError(line, column, shortened(value), sentence(without(value, str(error))), "")


def index_of(run: Run, uri: str, line: int, *, rate: Fraction | None = None, quick: bool = False) -> FrameIndex:
    """The source's frame index, from the cache when path, size and time (or ETag) are unchanged, else by decoding.

    Raises:
        SourceError: the source is missing, damaged or of a kind that is refused.
    """
    mark = fingerprint(uri, run.settings.endpoint_url)
    if quick:
        return child.run("quick_index", IndexRequest(str(source_file(run, uri)), rate), run.limits)
    cached = run.settings.state_folder / "indexes" / f"{mark.key}-{INDEX_VERSION}{_at(rate)}.json"
    with run.lock(f"index {uri}"):
        known = _read_index(cached)
        return known if known is not None else _make_index(run, uri, mark, cached, line, rate)


def _read_index(cached: Path) -> FrameIndex | None:
    try:
        return wire.load(FrameIndex, cached.read_bytes(), str(cached))
    except FileNotFoundError:
        return None
    except RecordError:
        return None  # Written by another version: decoding again is the cure.


def _at(rate: Fraction | None) -> str:
    """The same pictures at another rate have other times."""
    return "" if rate is None else f"-{rate.numerator}-{rate.denominator}"


def _make_index(run: Run, uri: str, mark: Fingerprint, cached: Path, line: int, rate: Fraction | None) -> FrameIndex:
    path = source_file(run, uri)
    index: FrameIndex = child.run("index", IndexRequest(str(path), rate), run.limits, run.reporter(line, "index"))
    cached.parent.mkdir(parents=True, exist_ok=True)
    part = cached.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(wire.dump(index))
    part.replace(cached)
    return index
