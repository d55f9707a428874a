"""The tables. Every change here needs a migration in `sql/migrations`; a test compares the two.

Nothing but `sql` reads these classes: its functions hand out the frozen records.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from edits.job import JobState
from sql.base import Base, BigId, Json, UtcDateTime, checked, utc_now
from sql.records import ArtifactKind, Decision, DispatchState, TrainingState

JOB_STATE = checked(JobState)
_EMPTY = sa.text("''")
_ZERO = sa.text("0")


def _recorded() -> Mapped[datetime]:
    return mapped_column(UtcDateTime(), server_default=utc_now())


def _word(length: int) -> Mapped[str]:
    """A short text that may be empty and is never null."""
    return mapped_column(sa.String(length), server_default=_EMPTY)


def _text() -> Mapped[str]:
    return mapped_column(sa.Text(), server_default=_EMPTY)


class Manifest(Base):
    __tablename__ = "manifest"
    manifest_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text())
    sha256: Mapped[str] = mapped_column(sa.String(64))
    rows: Mapped[int]
    recorded_at: Mapped[datetime] = _recorded()


class ManifestContent(Base):
    """The manifest's bytes, apart from the row that every job points at."""

    __tablename__ = "manifest_content"
    manifest_id: Mapped[str] = mapped_column(sa.ForeignKey("manifest.manifest_id"), primary_key=True)
    content: Mapped[bytes] = mapped_column(sa.LargeBinary())


class RowFailure(Base):
    """A row that never became a job, each time that a run met it. Nothing of it is ever changed."""

    __tablename__ = "row_failure"
    failure_id: Mapped[int] = mapped_column(primary_key=True)
    manifest_id: Mapped[str] = mapped_column(sa.ForeignKey("manifest.manifest_id"), index=True)
    line: Mapped[int]
    """Of the manifest, from 1."""
    category: Mapped[str] = _word(32)
    message: Mapped[str] = mapped_column(sa.Text())
    failed_at: Mapped[datetime] = _recorded()


class Source(Base):
    __tablename__ = "source"
    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    uri: Mapped[str] = mapped_column(sa.Text())
    """Where it was seen last."""
    size: Mapped[int] = mapped_column(sa.BigInteger())
    frames: Mapped[int]
    details: Mapped[dict[str, Any]] = mapped_column(Json)
    recorded_at: Mapped[datetime] = _recorded()


class Holder(Base):
    """A flow run that holds jobs and dispatches: one row to refresh, however much it holds."""

    __tablename__ = "owner"
    owner_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    host: Mapped[str] = mapped_column(sa.Text())
    pid: Mapped[int]
    process_started: Mapped[float]
    seen_at: Mapped[datetime] = _recorded()


class Environment(Base):
    """What was installed, by the digest over it."""

    __tablename__ = "environment"
    lock_digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    packages: Mapped[dict[str, str]] = mapped_column(Json)
    """Distribution to version, Python included."""


class FlowRun(Base):
    """Who had it done, where, with which settings and which code: written once, when an owner begins."""

    __tablename__ = "flow_run"
    owner_id: Mapped[str] = mapped_column(sa.ForeignKey("owner.owner_id"), primary_key=True)
    flow_run_id: Mapped[str] = mapped_column(sa.String(64), server_default=_EMPTY, index=True)
    """Prefect's; empty outside of Prefect."""
    flow: Mapped[str] = _text()
    submitted_by: Mapped[str] = _text()
    settings: Mapped[dict[str, Any]] = mapped_column(Json)
    """As resolved, secrets left out."""
    code_version: Mapped[str] = _text()
    lock_digest: Mapped[str] = mapped_column(sa.ForeignKey("environment.lock_digest"))
    image_digest: Mapped[str] = _text()
    started_at: Mapped[datetime] = _recorded()


class Job(Base):
    __tablename__ = "edit_job"
    __table_args__ = (sa.Index(None, "manifest_id", "line"),)
    job_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    manifest_id: Mapped[str] = mapped_column(sa.ForeignKey("manifest.manifest_id"))
    """The newest manifest that lists it."""
    line: Mapped[int]
    source_sha256: Mapped[str] = mapped_column(sa.ForeignKey("source.sha256"), index=True)
    project: Mapped[str] = _text()
    priority: Mapped[int] = mapped_column(server_default=_ZERO)
    editor: Mapped[str] = mapped_column(sa.String(64))
    weights: Mapped[str] = mapped_column(sa.String(64))
    output: Mapped[str] = mapped_column(sa.Text())
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    """The `EditJob`."""
    plan: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """What the `VideoPlan` says beside its job and its chunks."""
    state: Mapped[JobState] = mapped_column(JOB_STATE, server_default=JobState.PLANNED.value, index=True)
    failure_category: Mapped[str] = _word(32)
    failure_message: Mapped[str] = _text()
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"), index=True)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    """Since when nothing more of it is dispatched; null when it is not paused."""
    created_at: Mapped[datetime] = _recorded()
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), server_default=utc_now(), index=True)


class Event(Base):
    """Append-only."""

    __tablename__ = "job_event"
    __table_args__ = (sa.Index(None, "job_id", "event_id"),)
    event_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("edit_job.job_id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime(), server_default=utc_now(), index=True)
    before: Mapped[JobState | None] = mapped_column(checked(JobState, "before"))
    after: Mapped[JobState] = mapped_column(checked(JobState, "after"))
    reason: Mapped[str] = mapped_column(sa.Text())
    category: Mapped[str] = _word(32)
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"))
    """The flow run that held the job; null when none did."""


class ModelVersion(Base):
    """An editor's code and its weights, as they decided pixels."""

    __tablename__ = "model_version"
    __table_args__ = (sa.UniqueConstraint("digest", "weights", "editor", "editor_version"),)
    model_version_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    editor: Mapped[str] = mapped_column(sa.String(64))
    editor_version: Mapped[str] = mapped_column(sa.String(64))
    weights: Mapped[str] = mapped_column(sa.String(64))
    digest: Mapped[str] = _word(64)
    """Over the weights with their LoRAs; empty for editors without a model."""
    recorded_at: Mapped[datetime] = _recorded()
    converter: Mapped[str] = _text()
    """What made the weights' files of the released ones, with its version; empty when nothing did."""
    loras: Mapped[str] = _text()
    """`name@scale sha256`, one a line."""


class JobModel(Base):
    """Which model versions a job was ever planned for: the way from a model to all that it touched."""

    __tablename__ = "job_model"
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("edit_job.job_id"), primary_key=True)
    model_version_id: Mapped[int] = mapped_column(
        sa.ForeignKey("model_version.model_version_id"), primary_key=True, index=True
    )


class Dispatch(Base):
    __tablename__ = "dispatch"
    dispatch_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    editor: Mapped[str] = mapped_column(sa.String(64))
    weights: Mapped[str] = mapped_column(sa.String(64))
    weights_digest: Mapped[str] = _word(64)
    shards: Mapped[int] = mapped_column(server_default=_ZERO)
    digest: Mapped[str] = _word(64)
    state: Mapped[DispatchState] = mapped_column(
        checked(DispatchState), server_default=DispatchState.CLAIMED.value, index=True
    )
    rounds: Mapped[int] = mapped_column(server_default=_ZERO)
    owner_id: Mapped[str] = mapped_column(sa.ForeignKey("owner.owner_id"), index=True)
    created_at: Mapped[datetime] = _recorded()
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    reason: Mapped[str] = _text()


class Round(Base):
    """One round of a dispatch, and why there had to be one."""

    __tablename__ = "dispatch_round"
    dispatch_id: Mapped[str] = mapped_column(sa.ForeignKey("dispatch.dispatch_id"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cause: Mapped[str] = _text()
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"))
    started_at: Mapped[datetime] = _recorded()


class Chunk(Base):
    """A chunk, edited or to be. `dispatch_id` is its claim while that dispatch has not ended: one, by construction."""

    __tablename__ = "chunk"
    __table_args__ = (sa.Index(None, "delivered", "done_at"),)
    chunk_key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    input_key: Mapped[str] = mapped_column(sa.String(64), index=True)
    source_sha256: Mapped[str] = mapped_column(sa.ForeignKey("source.sha256"), index=True)
    start_frame: Mapped[int]
    end_frame: Mapped[int]
    padding: Mapped[int]
    seed: Mapped[int] = mapped_column(sa.BigInteger())
    model_version_id: Mapped[int] = mapped_column(sa.ForeignKey("model_version.model_version_id"), index=True)
    dispatch_id: Mapped[str | None] = mapped_column(sa.ForeignKey("dispatch.dispatch_id"), index=True)
    claimed_for: Mapped[str | None] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    """The job that its GPU-seconds belong to."""
    output_sha256: Mapped[str] = _word(64)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    marker: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """The `Marker` that was seen last."""
    delivered: Mapped[bool] = mapped_column(server_default=sa.false())
    """Whether a recorded deliverable was made of a file of it, also an older one: what its lineage edges say."""
    created_at: Mapped[datetime] = _recorded()


class JobChunk(Base):
    """Which chunks a job's present plan is made of."""

    __tablename__ = "job_chunk"
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("edit_job.job_id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chunk_key: Mapped[str] = mapped_column(sa.ForeignKey("chunk.chunk_key"), index=True)
    shot: Mapped[int]
    lead: Mapped[int]


class Attempt(Base):
    __tablename__ = "attempt"
    __table_args__ = (sa.UniqueConstraint("dispatch_id", "shard_index", "attempt"),)
    attempt_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    dispatch_id: Mapped[str] = mapped_column(sa.ForeignKey("dispatch.dispatch_id"))
    round: Mapped[int]
    shard_index: Mapped[int]
    attempt: Mapped[int]
    worker: Mapped[str] = _word(64)
    """Name of the pod; empty for a process."""
    image: Mapped[str] = _text()
    """Container image of the pod, by digest."""
    exit_code: Mapped[int | None]
    category: Mapped[str] = _word(32)
    message: Mapped[str] = _text()
    gpu_seconds: Mapped[float] = mapped_column(server_default=_ZERO)
    price: Mapped[float] = mapped_column(server_default=_ZERO)
    """Of a GPU hour, then."""
    currency: Mapped[str] = _word(8)
    device: Mapped[str] = _text()
    host: Mapped[str] = _text()
    started_at: Mapped[datetime] = mapped_column(UtcDateTime())
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)


class Share(Base):
    """What of an attempt's GPU-seconds belongs to one job."""

    __tablename__ = "attempt_share"
    share_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    attempt_id: Mapped[int] = mapped_column(sa.ForeignKey("attempt.attempt_id"), index=True)
    job_id: Mapped[str | None] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    """Null when no job had claimed the chunks."""
    chunks: Mapped[int]
    gpu_seconds: Mapped[float]


class DailyUsage(Base):
    """The sum of all shares, by the UTC day on which their attempts ended; changed in the attempt's transaction."""

    __tablename__ = "daily_usage"
    day: Mapped[date] = mapped_column(sa.Date(), primary_key=True)
    project: Mapped[str] = mapped_column(sa.Text(), primary_key=True)
    editor: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    currency: Mapped[str] = mapped_column(sa.String(8), primary_key=True, server_default=_EMPTY)
    chunks: Mapped[int] = mapped_column(sa.BigInteger(), server_default=_ZERO)
    gpu_seconds: Mapped[float] = mapped_column(server_default=_ZERO)
    cost: Mapped[float] = mapped_column(server_default=_ZERO)


class Artifact(Base):
    """A file by content and place. The same bytes at two places are two rows, and equal bytes of two chunks as well."""

    __tablename__ = "artifact"
    __table_args__ = (
        sa.UniqueConstraint("uri", "sha256", "job_id"),
        # A null job_id is unequal to every other: files that belong to no job need an index of their own.
        sa.Index(
            "uq_artifact_uri_sha256",
            "uri",
            "sha256",
            unique=True,
            sqlite_where=sa.text("job_id IS NULL"),
            postgresql_where=sa.text("job_id IS NULL"),
        ),
        # The views ask for deliverables by their job; among a million files that have none, the one over all is slow.
        sa.Index(
            "ix_artifact_job_id_deliverable",
            "job_id",
            sqlite_where=sa.text("kind = 'deliverable'"),
            postgresql_where=sa.text("kind = 'deliverable'"),
        ),
    )
    artifact_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[ArtifactKind] = mapped_column(checked(ArtifactKind, "kind"))
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    uri: Mapped[str] = mapped_column(sa.Text())
    size: Mapped[int] = mapped_column(sa.BigInteger())
    job_id: Mapped[str | None] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    key: Mapped[str] = mapped_column(sa.String(64), server_default=_EMPTY, index=True)
    details: Mapped[dict[str, Any]] = mapped_column(Json)
    recorded_at: Mapped[datetime] = _recorded()
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"))
    """The flow run that made it: of deliverables."""


class ArtifactStream(Base):
    """A deliverable's streams by the digest of their packets: what stays when a file is signed or rewrapped."""

    __tablename__ = "artifact_stream"
    artifact_id: Mapped[int] = mapped_column(sa.ForeignKey("artifact.artifact_id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(16))
    codec: Mapped[str] = mapped_column(sa.String(64))
    packets: Mapped[int] = mapped_column(sa.BigInteger())
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)


class ArtifactInput(Base):
    """A lineage edge: `output_id` was made from `input_id`."""

    __tablename__ = "artifact_input"
    output_id: Mapped[int] = mapped_column(sa.ForeignKey("artifact.artifact_id"), primary_key=True)
    input_id: Mapped[int] = mapped_column(sa.ForeignKey("artifact.artifact_id"), primary_key=True, index=True)
    role: Mapped[ArtifactKind] = mapped_column(checked(ArtifactKind, "role"))


class Approval(Base):
    __tablename__ = "approval"
    approval_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    """The deliverable that was looked at."""
    decision: Mapped[Decision] = mapped_column(checked(Decision, "decision"))
    reviewer: Mapped[str] = mapped_column(sa.Text())
    reason: Mapped[str] = _text()
    changes: Mapped[str] = _text()
    """What is to be other in the job that takes this one's place; empty where none is to."""
    successor_id: Mapped[str] = mapped_column(sa.String(64), server_default=_EMPTY, index=True)
    """That job, once it is recorded."""
    recorded_at: Mapped[datetime] = _recorded()


class QcResult(Base):
    __tablename__ = "qc_result"
    qc_result_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    sha256: Mapped[str] = _word(64)
    """The deliverable that was checked."""
    name: Mapped[str] = mapped_column(sa.String(64))
    passed: Mapped[bool]
    expected: Mapped[str] = _text()
    found: Mapped[str] = _text()
    recorded_at: Mapped[datetime] = _recorded()


class LibraryItem(Base):
    """A file of a library under one style (`library_id` is the digest of both): how it looked when it was taken on."""

    __tablename__ = "library_item"
    library_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    uri: Mapped[str] = mapped_column(sa.Text(), primary_key=True)
    size: Mapped[int] = mapped_column(sa.BigInteger())
    mark: Mapped[str] = mapped_column(sa.Text())
    """Modification time in nanoseconds, or the object's ETag."""
    job_id: Mapped[str | None] = mapped_column(sa.ForeignKey("edit_job.job_id"), index=True)
    category: Mapped[str] = _word(32)
    message: Mapped[str] = _text()
    """Why it never became a job."""
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"), index=True)
    """The run that works on it."""
    updated_at: Mapped[datetime] = _recorded()


class TrainingRun(Base):
    """A folder in which a small model is trained, from nothing to its weights."""

    __tablename__ = "training_run"
    run_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    curriculum: Mapped[str] = mapped_column(sa.String(64))
    curriculum_digest: Mapped[str] = mapped_column(sa.String(64))
    data_digest: Mapped[str] = mapped_column(sa.String(64))
    code_version: Mapped[str] = _text()
    """That it was last gone on with."""
    folder: Mapped[str] = mapped_column(sa.Text())
    state: Mapped[TrainingState] = mapped_column(checked(TrainingState), server_default=TrainingState.TRAINING.value)
    reason: Mapped[str] = _text()
    weights: Mapped[str] = _word(64)
    weights_digest: Mapped[str] = mapped_column(sa.String(64), server_default=_EMPTY, index=True)
    """Of what was built; empty until then."""
    owner_id: Mapped[str | None] = mapped_column(sa.ForeignKey("owner.owner_id"))
    """The flow that trains, or trained last."""
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime(), server_default=utc_now(), index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class TrainingPart(Base):
    """How far one part of a run is."""

    __tablename__ = "training_part"
    run_id: Mapped[str] = mapped_column(sa.ForeignKey("training_run.run_id"), primary_key=True)
    part: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    position: Mapped[int]
    """Among the parts, from 0."""
    steps: Mapped[int]
    step: Mapped[int] = mapped_column(server_default=_ZERO)
    """Steps done."""
    left_out: Mapped[int] = mapped_column(server_default=_ZERO)
    """Examples, those included that `TrainingLeftOut` does not name."""


class TrainingFigure(Base):
    """A curve's point: a mean over the steps since the point before."""

    __tablename__ = "training_figure"
    run_id: Mapped[str] = mapped_column(sa.ForeignKey("training_run.run_id"), primary_key=True)
    part: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Steps done."""
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    value: Mapped[float | None]
    """Null: not a finite number."""


class TrainingLeftOut(Base):
    """An example that could not be trained on: the first thousand of a part are named."""

    __tablename__ = "training_left_out"
    run_id: Mapped[str] = mapped_column(sa.ForeignKey("training_run.run_id"), primary_key=True)
    part: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger(), primary_key=True, autoincrement=False)
    step: Mapped[int]
    """Of which it was to be."""
    reason: Mapped[str] = mapped_column(sa.Text())


METADATA = Base.metadata
"""All of the above, for Alembic to compare with."""
