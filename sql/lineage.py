"""The question 'what made this file?', answered from a digest or a job."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from edits import wire
from edits.errors import PermanentError
from edits.job import JobState, Marker
from edits.lineage import ChunkLineage, Lineage, Origin, Review, SourceLineage, WorkingForm
from edits.media.records import Check, StreamDigest
from sql.artifacts import newest_output
from sql.edit_jobs import full_id, request_of
from sql.flow_runs import flow_run_of
from sql.models import Approval, Artifact, ArtifactInput, Attempt, Chunk, Event, Job, ModelVersion, QcResult, Source
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database

Record = TypeVar("Record")


@patient
def lineage_of(db: Database, what: str) -> Lineage:
    """The lineage of the deliverable with this sha256 (64 hex digits), or of a job's (id or the beginning of one).

    Raises:
        PermanentError: no deliverable has this digest, no such job, or it has no deliverable yet.
    """
    with db.read() as session:
        output = _by_digest(session, what) if re.fullmatch("[0-9a-f]{64}", what) else _by_job(session, what)
        return _lineage(session, output)


@patient
def delivered_files(db: Database) -> tuple[int, ...]:
    """Every deliverable that a job ever delivered, the oldest first, for `lineage_of_file`: earlier versions too, and
    those of jobs that are at work again. What was recorded and never published is none."""
    later = aliased(Artifact)
    between = sa.exists().where(
        later.job_id == Artifact.job_id,
        later.kind == ArtifactKind.DELIVERABLE,
        later.recorded_at > Artifact.recorded_at,
        later.recorded_at <= Event.at,
    )
    between = between.correlate(Artifact, Event)
    arrived = (Event.job_id == Artifact.job_id, Event.after == JobState.DELIVERED, Event.at >= Artifact.recorded_at)
    query = sa.select(Artifact.artifact_id).where(Artifact.kind == ArtifactKind.DELIVERABLE)
    delivered = query.where(sa.exists().where(*arrived, ~between).correlate(Artifact))
    with db.read() as session:
        return tuple(session.scalars(delivered.order_by(Artifact.recorded_at, Artifact.artifact_id)))


@patient
def lineage_of_file(db: Database, artifact_id: int) -> Lineage:
    """The lineage of one of `delivered_files`."""
    with db.read() as session:
        return _lineage(session, session.get_one(Artifact, artifact_id))


def _by_digest(session: Session, sha256: str) -> Artifact:
    output = newest_output(session, Artifact.sha256 == sha256)
    if output is not None:
        return output
    other = session.scalars(sa.select(Artifact).where(Artifact.sha256 == sha256).limit(1)).first()
    if other is not None:
        raise PermanentError(f"{sha256} is no deliverable: it is recorded as {other.kind} {other.uri}")
    raise PermanentError(f"no file with the digest {sha256} is recorded: it was not made here, or was changed since")


def _by_job(session: Session, prefix: str) -> Artifact:
    job = session.get_one(Job, full_id(session, prefix))
    output = newest_output(session, Artifact.job_id == job.job_id)
    if output is None:
        raise PermanentError(f"job {job.job_id} has no deliverable yet: it is {job.state}")
    return output


def _lineage(session: Session, output: Artifact) -> Lineage:
    made_by = output.details
    job = session.get_one(Job, output.job_id)
    chunks = _chunks(session, output)
    request = request_of(made_by["job"], job.job_id)
    source = session.get_one(Source, request.source_sha256)
    return Lineage(
        sha256=output.sha256,
        uri=output.uri,
        size=output.size,
        recorded_at=output.recorded_at.isoformat(),
        streams=tuple(_parsed(StreamDigest, stream, output.uri) for stream in made_by["streams"]),
        copies=_copies(session, output),
        job=request,
        state=job.state,
        plan=_parsed(WorkingForm, made_by["plan"], output.uri) if made_by["plan"] else None,
        source=_source(session, source, request.source),
        chunks=chunks,
        code_version=made_by["code_version"],
        encoding=made_by.get("encoding", ""),
        credentials=made_by.get("credentials", ""),
        origin=_origin(session, output.owner_id),
        checks=_checks(session, output),
        reviews=_reviews(session, output),
        worker_images=_images(session, {chunk.dispatch_id for chunk in chunks}),
    )


def _source(session: Session, source: Source, uri: str) -> SourceLineage:
    maker = newest_output(session, Artifact.sha256 == source.sha256)
    facts = (source.sha256, uri, source.size, source.frames, source.details)
    return SourceLineage(*facts, made_by=(maker.job_id or "") if maker is not None else "")


def _origin(session: Session, owner_id: str | None) -> Origin | None:
    run = flow_run_of(session, owner_id)
    return None if run is None else Origin(**asdict(run))


def _checks(session: Session, output: Artifact) -> tuple[Check, ...]:
    about = (QcResult.job_id == output.job_id, QcResult.sha256 == output.sha256)
    rows = session.scalars(sa.select(QcResult).where(*about).order_by(QcResult.qc_result_id))
    return tuple(Check(row.name, row.passed, row.expected, row.found) for row in rows)


def _reviews(session: Session, output: Artifact) -> tuple[Review, ...]:
    rows = session.scalars(sa.select(Approval).where(Approval.job_id == output.job_id).order_by(Approval.approval_id))
    return tuple(
        Review(
            row.decision,
            row.reviewer,
            row.reason,
            row.sha256,
            row.recorded_at.isoformat(),
            row.changes,
            row.successor_id,
        )
        for row in rows
    )


def _images(session: Session, dispatch_ids: set[str]) -> tuple[str, ...]:
    ran = sa.select(Attempt.image).distinct().where(Attempt.dispatch_id.in_(dispatch_ids), Attempt.image != "")
    return tuple(session.scalars(ran.order_by(Attempt.image)))


def _copies(session: Session, output: Artifact) -> tuple[str, ...]:
    query = sa.select(Artifact.uri).distinct().order_by(Artifact.uri)
    same = query.where(Artifact.sha256 == output.sha256, Artifact.kind == ArtifactKind.DELIVERABLE)
    return tuple(session.scalars(same.where(Artifact.uri != output.uri)))


def _chunks(session: Session, output: Artifact) -> tuple[ChunkLineage, ...]:
    edited, edge, to_input, given = aliased(Artifact), aliased(ArtifactInput), aliased(ArtifactInput), aliased(Artifact)
    into_input = sa.and_(to_input.output_id == edited.artifact_id, to_input.role == ArtifactKind.INPUT)
    query = (
        sa.select(edited, Chunk, ModelVersion, given.sha256)
        .select_from(edge)
        .join(edited, edited.artifact_id == edge.input_id)
        .join(Chunk, Chunk.chunk_key == edited.key)
        .join(ModelVersion, ModelVersion.model_version_id == Chunk.model_version_id)
        .outerjoin(to_input, into_input)
        .outerjoin(given, given.artifact_id == to_input.input_id)
        .where(edge.output_id == output.artifact_id, edge.role == ArtifactKind.CHUNK)
        .order_by(Chunk.start_frame, Chunk.chunk_key)
    )
    return tuple(_chunk(*row) for row in session.execute(query))


def _chunk(edited: Artifact, chunk: Chunk, version: ModelVersion, input_sha256: str | None) -> ChunkLineage:
    # The marker of the very file that was used: a later one of the same chunk may name another device.
    marker = _parsed(Marker, edited.details, edited.uri)
    return ChunkLineage(
        chunk_key=chunk.chunk_key,
        sha256=edited.sha256,
        start=chunk.start_frame,
        end=chunk.end_frame,
        padding=chunk.padding,
        input_key=chunk.input_key,
        input_sha256=input_sha256 or "",
        seed=marker.seed,
        editor=marker.editor,
        editor_version=marker.editor_version,
        weights=version.weights,
        weights_digest=marker.weights_digest,
        device=marker.device,
        dispatch_id=marker.dispatch_id,
        seconds=marker.seconds,
        versions=marker.versions,
        converter=version.converter,
        loras=version.loras,
    )


def _parsed(kind: type[Record], value: Any, name: str) -> Record:
    return wire.load(kind, json.dumps(value).encode(), f"artifact {name}")
