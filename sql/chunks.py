"""Chunks: what a plan asks for, the inputs that were written, the edited chunks that have a marker.

The store is the truth about which chunks are done; these rows follow it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits import wire
from edits.errors import DatabaseError
from edits.job import InputRecord, Marker, VideoPlan
from edits.shots import asked_of
from sql.base import utc_now
from sql.edit_jobs import append_event, batches, load
from sql.inserts import insert_new
from sql.model_versions import ensure_model_version
from sql.models import Artifact, ArtifactInput, Chunk, Job, JobChunk, JobModel
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database


@patient
def record_plan(db: Database, plan: VideoPlan, converter: str = "", loras: str = "") -> None:
    """The plan's chunks and their place in the job. Another plan of the same job (a retry with another seed) takes the
    former one's place, with an event; the chunks of both stay. `converter` and `loras` as `record_model_version`.

    Raises:
        PermanentError: the job is not recorded.
    """
    with db.write() as session:
        row = load(session, plan.job.job_id)
        job = plan.job
        model = (job.weights, job.weights_digest, job.editor, plan.editor_version)
        version = ensure_model_version(session, *model, converter, loras)
        insert_new(session, JobModel, [{"job_id": job.job_id, "model_version_id": version}])
        insert_new(session, Chunk, _chunk_rows(plan, version))
        row.plan = _facts(plan)
        _place(session, row, plan)


def _chunk_rows(plan: VideoPlan, version: int) -> list[dict[str, Any]]:
    """In the order of their keys: two plans that share chunks then insert them in one order and never deadlock."""
    return [
        {
            "chunk_key": chunk.chunk_key,
            "input_key": chunk.input_key,
            "source_sha256": plan.job.source_sha256,
            "start_frame": chunk.start,
            "end_frame": chunk.end,
            "padding": chunk.padding,
            "seed": asked_of(plan.job, chunk.shot)[1],
            "model_version_id": version,
        }
        for chunk in sorted(plan.chunks, key=lambda chunk: chunk.chunk_key)
    ]


def _facts(plan: VideoPlan) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(wire.dump(plan))
    return {name: value for name, value in whole.items() if name not in ("job", "chunks")}


def _place(session: Session, row: Job, plan: VideoPlan) -> None:
    wanted = [(chunk.index, chunk.chunk_key, chunk.shot, chunk.lead) for chunk in plan.chunks]
    columns = (JobChunk.position, JobChunk.chunk_key, JobChunk.shot, JobChunk.lead)
    query = sa.select(*columns).where(JobChunk.job_id == row.job_id).order_by(JobChunk.position)
    present = [tuple(found) for found in session.execute(query)]
    if present == wanted:
        return
    if present:
        session.execute(sa.delete(JobChunk).where(JobChunk.job_id == row.job_id))
        append_event(session, row, row.state, f"planned anew: {len(wanted)} chunks, {len(present)} before")
    names = ("position", "chunk_key", "shot", "lead")
    insert_new(session, JobChunk, [{"job_id": row.job_id, **dict(zip(names, place, strict=True))} for place in wanted])


@patient
def record_input(db: Database, record: InputRecord, source_sha256: str) -> None:
    """A chunk's input as it lies in the store, made from the source with this digest."""
    artifact = {
        "kind": ArtifactKind.INPUT,
        "sha256": record.sha256,
        "uri": f"inputs/{record.input_key}/input.mov",
        "size": record.size,
        "key": record.input_key,
        "details": json.loads(wire.dump(record)),
    }
    made = sa.select(Artifact.artifact_id).where(
        Artifact.kind == ArtifactKind.INPUT, Artifact.key == record.input_key, Artifact.sha256 == record.sha256
    )
    with db.write() as session:
        insert_new(session, Artifact, [artifact])
        link(session, session.scalars(made).one(), newest(session, ArtifactKind.SOURCE, source_sha256))


@patient
def record_chunk_done(db: Database, *markers: Marker) -> None:
    """Edited chunks, as their markers say. A later marker of the same chunk replaces the former; both files stay.

    Raises:
        DatabaseError: a chunk that is in no recorded plan.
    """
    by_key = {marker.chunk_key: marker for marker in markers}
    with db.write() as session:
        for batch in batches(by_key):
            query = sa.select(Chunk).where(Chunk.chunk_key.in_(batch)).order_by(Chunk.chunk_key)
            rows = {row.chunk_key: row for row in session.scalars(query.with_for_update())}
            _mark(session, rows, [by_key[key] for key in batch])


def _mark(session: Session, rows: Mapping[str, Chunk], markers: list[Marker]) -> None:
    artifacts = []
    for marker in markers:
        row = rows.get(marker.chunk_key)
        if row is None:
            raise DatabaseError(f"chunk {marker.chunk_key} is in no recorded plan: record its job's plan first")
        if row.output_sha256 != marker.sha256:
            row.done_at = utc_now()
        row.output_sha256 = marker.sha256
        row.marker = json.loads(wire.dump(marker))
        artifacts.append(_artifact(marker, row.marker))
    insert_new(session, Artifact, artifacts)


def _artifact(marker: Marker, details: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": ArtifactKind.CHUNK,
        "sha256": marker.sha256,
        "uri": f"chunks/{marker.chunk_key}/{marker.output}",
        "size": marker.size,
        "key": marker.chunk_key,
        "details": details,
    }


# -- lineage edges ----------------------------------------------------------------------------------------------------


def newest(session: Session, kind: ArtifactKind, sha256: str) -> Artifact | None:
    """The artifact of this kind and content that was recorded last."""
    query = sa.select(Artifact).where(Artifact.sha256 == sha256, Artifact.kind == kind)
    return session.scalars(query.order_by(Artifact.recorded_at.desc(), Artifact.artifact_id.desc()).limit(1)).first()


def link(session: Session, output_id: int, made_from: Artifact | None) -> None:
    """Record the edge, once. Without an artifact to point at there is no edge: the chunk's own row still names it."""
    if made_from is not None:
        edge = {"output_id": output_id, "input_id": made_from.artifact_id, "role": made_from.kind}
        insert_new(session, ArtifactInput, [edge])
