"""Manifests and sources: what jobs refer to. Both are recorded before their jobs, and again without harm."""

from __future__ import annotations

import json
from collections.abc import Iterable

import sqlalchemy as sa

from edits.errors import PermanentError
from sql.base import utc_now
from sql.inserts import insert_new, upsert
from sql.models import Artifact, Job, Manifest, ManifestContent, RowFailure, Source
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database


@patient
def record_manifest(db: Database, manifest_id: str, name: str, sha256: str, rows: int, content: bytes = b"") -> None:
    """`sha256` is over the manifest's bytes, `rows` its number of jobs asked for, good or bad. The bytes themselves are
    kept as well when they are given."""
    row = {"manifest_id": manifest_id, "name": name, "sha256": sha256, "rows": rows}
    with db.write() as session:
        insert_new(session, Manifest, [row])
        if content:
            insert_new(session, ManifestContent, [{"manifest_id": manifest_id, "content": content}])


@patient
def record_row_failures(db: Database, manifest_id: str, failures: Iterable[tuple[int, str, str]]) -> None:
    """Rows of a recorded manifest that never became jobs: line, category and message of each, as often as a run meets
    them."""
    rows = [
        {"manifest_id": manifest_id, "line": line, "category": category, "message": message}
        for line, category, message in failures
    ]
    with db.write() as session:
        insert_new(session, RowFailure, rows)


@patient
def refused_rows(db: Database) -> int:
    """Rows that have never become jobs, each counted once however often a run met it."""
    job_of_it = sa.exists().where(Job.manifest_id == RowFailure.manifest_id, Job.line == RowFailure.line)
    rows = sa.select(RowFailure.manifest_id, RowFailure.line).where(~job_of_it).distinct()
    with db.read() as session:
        return session.scalars(sa.select(sa.func.count()).select_from(rows.subquery())).one()


@patient
def manifest_content(db: Database, manifest_id: str) -> bytes:
    """The bytes of a manifest, as they were read.

    Raises:
        PermanentError: no such manifest, or its bytes were not kept.
    """
    with db.read() as session:
        row = session.get(ManifestContent, manifest_id)
        if row is None:
            raise PermanentError(f"the bytes of manifest {manifest_id} are not recorded")
        return row.content


@patient
def manifest_name(db: Database, manifest_id: str) -> str:
    """The name of a recorded manifest, for people; the id itself where none is recorded."""
    with db.read() as session:
        row = session.get(Manifest, manifest_id)
        return row.name if row else manifest_id


@patient
def record_source(db: Database, sha256: str, uri: str, size: int, frames: int, details_json: str = "{}") -> None:
    """A source by the digest of its bytes. Seen elsewhere the next time: the newest `uri` is kept on the source, all
    of them as artifacts. `size` in bytes; `details_json` is an object (rate, picture size, colour)."""
    details = json.loads(details_json)
    facts = {"uri": uri, "size": size, "frames": frames, "details": details}
    artifact = {"kind": ArtifactKind.SOURCE, "sha256": sha256, "uri": uri, "size": size, "details": {}}
    with db.write() as session:
        upsert(session, Source, ["sha256"], {"sha256": sha256, **facts}, {**facts, "recorded_at": utc_now()})
        insert_new(session, Artifact, [artifact])


@patient
def record_lost_source(db: Database, sha256: str, uri: str, frames: int) -> None:
    """A source of which a plan alone is left: it has at least `frames` frames, and its size is not known. One that is
    recorded stays as it is."""
    source = {"sha256": sha256, "uri": uri, "size": 0, "frames": frames, "details": {}}
    artifact = {"kind": ArtifactKind.SOURCE, "sha256": sha256, "uri": uri, "size": 0, "details": {}}
    with db.write() as session:
        insert_new(session, Source, [source])
        insert_new(session, Artifact, [artifact])
