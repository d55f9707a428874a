"""Manifests and sources: what jobs refer to. Both are recorded before their jobs, and again without harm."""

from __future__ import annotations

import json

from sql.base import utc_now
from sql.inserts import insert_new, upsert
from sql.models import Artifact, Manifest, Source
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database


@patient
def record_manifest(db: Database, manifest_id: str, name: str, sha256: str, rows: int) -> None:
    """`sha256` is over the manifest's bytes, `rows` its number of jobs asked for, good or bad."""
    row = {"manifest_id": manifest_id, "name": name, "sha256": sha256, "rows": rows}
    with db.write() as session:
        insert_new(session, Manifest, [row])


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
