"""Deliverables and the edges that say what they were made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits import wire
from edits.errors import DatabaseError
from edits.media.records import Check, StreamDigest
from sql.base import utc_now
from sql.chunks import link, newest
from sql.edit_jobs import batches, load
from sql.inserts import insert_new, upsert
from sql.models import Artifact, ArtifactInput, ArtifactStream, Chunk, ModelVersion, QcResult
from sql.patience import patient
from sql.records import ArtifactKind, ArtifactRecord, Owner
from sql.session import Database


@patient
def record_output_digest(
    db: Database,
    job_id: str,
    uri: str,
    sha256: str,
    size: int,
    streams: Sequence[StreamDigest] = (),
    code_version: str = "",
    *,
    owner: Owner | None = None,
    encoding: str = "",
    credentials: str = "",
    made_at: datetime | None = None,
) -> None:
    """The finished deliverable, BEFORE it is published at `uri`: a file there with this digest is then known as ours.

    With it goes what it was made by: the job and the plan as they are now, the digest of each stream (the same before
    and after signing), the encoder, the code, the flow run of `owner`, and what was said of its content credentials.
    `made_at` is for a file that was made earlier than now, where that is known.

    Raises:
        PermanentError: no such job.
    """
    with db.write() as session:
        row = load(session, job_id)
        parts = [json.loads(wire.dump(stream)) for stream in streams]
        made_by = {"code_version": code_version, "encoding": encoding, "credentials": credentials}
        facts = {
            "size": size,
            "details": {"job": row.request, "plan": row.plan, "streams": parts, **made_by},
            "owner_id": owner.owner_id if owner is not None else None,
        }
        keys = {"uri": uri, "sha256": sha256, "job_id": job_id}
        fresh = {**facts, "recorded_at": made_at or utc_now()}
        upsert(session, Artifact, tuple(keys), {"kind": ArtifactKind.DELIVERABLE, **keys, **fresh}, fresh)
        artifact_id = session.scalars(sa.select(Artifact.artifact_id).filter_by(**keys)).one()
        rows = [{"artifact_id": artifact_id, "position": number, **part} for number, part in enumerate(parts)]
        insert_new(session, ArtifactStream, rows)


@patient
def output_of(db: Database, job_id: str) -> ArtifactRecord | None:
    """The job's newest deliverable, published or about to be."""
    with db.read() as session:
        row = newest_output(session, Artifact.job_id == job_id)
        return _record_of(row) if row else None


@patient
def artifact_at(db: Database, uri: str, sha256: str = "") -> ArtifactRecord | None:
    """What was recorded last at `uri`; with `sha256`, only a file with that content: is the file there ours?"""
    query = sa.select(Artifact).where(Artifact.uri == uri)
    return _last(db, query.where(Artifact.sha256 == sha256) if sha256 else query)


@patient
def artifact_by_digest(db: Database, sha256: str) -> ArtifactRecord | None:
    """The newest file with this content, a deliverable before any other kind."""
    deliverable_first = (Artifact.kind == ArtifactKind.DELIVERABLE).desc()
    return _last(db, sa.select(Artifact).where(Artifact.sha256 == sha256).order_by(deliverable_first))


@patient
def file_with_stream(db: Database, digests: Collection[str]) -> str | None:
    """The sha256 of the newest deliverable that has a video stream with one of these packet digests: the same film in
    a file whose wrapping was changed (rewrapped, credentials removed). None when there is none."""
    query = sa.select(Artifact.sha256).join(ArtifactStream)
    same = query.where(ArtifactStream.sha256.in_(digests), ArtifactStream.kind == "video")
    with db.read() as session:
        return session.scalars(same.order_by(Artifact.recorded_at.desc()).limit(1)).first()


def _last(db: Database, query: sa.Select[tuple[Artifact]]) -> ArtifactRecord | None:
    with db.read() as session:
        row = session.scalars(_newest_first(query).limit(1)).first()
        return _record_of(row) if row else None


def _newest_first(query: sa.Select[tuple[Artifact]]) -> sa.Select[tuple[Artifact]]:
    return query.order_by(Artifact.recorded_at.desc(), Artifact.artifact_id.desc())


def newest_output(session: Session, condition: sa.ColumnElement[bool]) -> Artifact | None:
    query = sa.select(Artifact).where(condition, Artifact.kind == ArtifactKind.DELIVERABLE)
    return session.scalars(_newest_first(query).limit(1)).first()


@patient
def record_lineage(db: Database, job_id: str, used: Mapping[str, str]) -> None:
    """The edges of the job's newest deliverable: to the source, to the chunk files that stitch used (`used`: chunk key
    to the file's sha256), and from each chunk to its input and its weights. Recording them again changes nothing.

    Raises:
        DatabaseError: the deliverable's digest or one of the chunks is not recorded.
    """
    with db.write() as session:
        job = load(session, job_id)
        output = newest_output(session, Artifact.job_id == job_id)
        if output is None:
            raise DatabaseError(f"job {job_id} has no deliverable: record its digest before its lineage")
        link(session, output.artifact_id, newest(session, ArtifactKind.SOURCE, job.source_sha256))
        for batch in batches(used):
            chunks = _chunk_artifacts(session, {key: used[key] for key in batch})
            edges = [(output.artifact_id, chunk, ArtifactKind.CHUNK) for chunk in chunks.values()]
            _link_all(session, edges + _chunk_edges(session, chunks))
            _say_delivered(session, batch)


@patient
def record_known_lineage(db: Database, job_id: str, used: Mapping[str, str]) -> None:
    """As `record_lineage`, with those of the chunk files alone that are still recorded: the others were pruned."""
    with db.read() as session:
        known: dict[str, str] = {}
        for batch in batches(used):
            query = sa.select(Artifact.key, Artifact.sha256).where(
                Artifact.key.in_(batch), Artifact.kind == ArtifactKind.CHUNK
            )
            known.update({key: sha256 for key, sha256 in session.execute(query) if used[key] == sha256})
    record_lineage(db, job_id, known)


def _chunk_artifacts(session: Session, used: Mapping[str, str]) -> dict[str, int]:
    query = sa.select(Artifact.key, Artifact.sha256, Artifact.artifact_id).where(
        Artifact.key.in_(used), Artifact.kind == ArtifactKind.CHUNK
    )
    found = {key: artifact_id for key, sha256, artifact_id in session.execute(query) if used[key] == sha256}
    for key in used:
        if key not in found:
            raise DatabaseError(f"chunk {key} with content {used[key]} is not recorded: record its marker first")
    return found


def _say_delivered(session: Session, chunk_keys: Collection[str]) -> None:
    """Locked in the order of their keys, as everybody locks chunks."""
    untold = sa.select(Chunk).where(Chunk.chunk_key.in_(chunk_keys), ~Chunk.delivered)
    for row in session.scalars(untold.order_by(Chunk.chunk_key).with_for_update()):
        row.delivered = True


_Edge = tuple[int, int, ArtifactKind]


def _chunk_edges(session: Session, chunks: Mapping[str, int]) -> list[_Edge]:
    made_by = sa.select(Chunk.chunk_key, Chunk.input_key, ModelVersion.digest).join(ModelVersion)
    rows = session.execute(made_by.where(Chunk.chunk_key.in_(chunks))).all()
    inputs = _newest_ids(session, ArtifactKind.INPUT, Artifact.key, {row.input_key for row in rows})
    weights = _newest_ids(session, ArtifactKind.WEIGHTS, Artifact.sha256, {row.digest for row in rows})
    edges = [
        (chunks[row.chunk_key], inputs[row.input_key], ArtifactKind.INPUT) for row in rows if row.input_key in inputs
    ]
    return edges + [
        (chunks[row.chunk_key], weights[row.digest], ArtifactKind.WEIGHTS) for row in rows if row.digest in weights
    ]


def _newest_ids(session: Session, kind: ArtifactKind, column: Any, values: set[str]) -> dict[str, int]:
    query = sa.select(column, Artifact.artifact_id).where(column.in_(values), Artifact.kind == kind)
    return dict(tuple(row) for row in session.execute(query.order_by(Artifact.recorded_at, Artifact.artifact_id)))


def _link_all(session: Session, edges: list[_Edge]) -> None:
    names = ("output_id", "input_id", "role")
    insert_new(session, ArtifactInput, [dict(zip(names, edge, strict=True)) for edge in edges])


@patient
def record_qc(db: Database, job_id: str, sha256: str, checks: Sequence[Check]) -> None:
    """What was checked on a job's file with this digest, published or not. Every call adds its results."""
    with db.write() as session:
        load(session, job_id)
        session.add_all(
            QcResult(job_id=job_id, sha256=sha256, name=c.name, passed=c.passed, expected=c.expected, found=c.found)
            for c in checks
        )


def _record_of(row: Artifact) -> ArtifactRecord:
    return ArtifactRecord(row.kind, row.sha256, row.uri, row.size, row.job_id or "", row.key, row.recorded_at)
