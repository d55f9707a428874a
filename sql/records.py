"""What the database's functions take and return, where the domain has no record of its own. Frozen, no SQLAlchemy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from edits.job import EditJob, JobState


class DispatchState(StrEnum):
    """Where a dispatch is in its life; the last three end it, and with it its claims."""

    CLAIMED = "claimed"
    """It holds its chunks; its shards are not known to be in the store yet."""
    WRITTEN = "written"
    """Its shards are in the store: whoever adopts it reads them there and never packs anew."""
    DONE = "done"
    FAILED = "failed"
    """It ended with chunks missing."""
    WITHDRAWN = "withdrawn"
    """Nobody wanted its chunks any more."""


ENDED = frozenset({DispatchState.DONE, DispatchState.FAILED, DispatchState.WITHDRAWN})
"""States in which a dispatch claims nothing."""


class ArtifactKind(StrEnum):
    """What a recorded file is."""

    SOURCE = "source"
    INPUT = "input"
    CHUNK = "chunk"
    WEIGHTS = "weights"
    DELIVERABLE = "deliverable"


class Decision(StrEnum):
    """What a reviewer said of a job."""

    APPROVED = "approved"
    REJECTED = "rejected"
    """Also of a job in whose place another one, with other settings, is put."""


class TrainingState(StrEnum):
    """Where a training run is in its life."""

    TRAINING = "training"
    """A flow works on it, or died while it did."""
    PAUSED = "paused"
    """Stopped with a checkpoint; the same call goes on."""
    BUILT = "built"
    FAILED = "failed"


@dataclass(frozen=True)
class ApprovalRecord:
    """One decision on a job."""

    job_id: str
    decision: Decision
    reviewer: str
    """As claimed."""
    reason: str
    sha256: str
    """Of the deliverable that was looked at; empty for a preview."""
    recorded_at: datetime
    changes: str = ""
    """What is to be other in the job that takes this one's place; empty where none is to."""
    successor_id: str = ""
    """That job, once it is recorded."""

    @property
    def verdict(self) -> str:
        """`approved`, `rejected` or `changed`."""
        return "changed" if self.changes else str(self.decision)


@dataclass(frozen=True)
class Owner:
    """A flow that works on jobs and dispatches. `sql.this_process()` makes one; one a flow run."""

    owner_id: str
    host: str
    """Host name, boot and process namespace: two owners share it only if each can look up the other's pid."""
    pid: int
    process_started: float
    """Unix seconds, as the operating system states it: tells a reused pid from the process itself."""


@dataclass(frozen=True)
class FlowRunRecord:
    """Who had a flow run done, with which settings and which code."""

    flow_run_id: str
    """Prefect's; empty outside of Prefect."""
    flow: str
    submitted_by: str
    settings: dict[str, Any]
    """As resolved, secrets left out."""
    code_version: str
    packages: dict[str, str]
    """What is installed, Python included."""
    lock_digest: str
    """sha256 over `packages`."""
    image_digest: str = ""


@dataclass(frozen=True)
class Holdings:
    """What an owner still holds. What it held before and is not here, another flow has taken over."""

    jobs: frozenset[str]
    dispatches: frozenset[str]


@dataclass(frozen=True)
class JobRecord:
    """An edit job as the database knows it."""

    job: EditJob
    state: JobState
    failure_category: str
    """Empty unless the state is failed or failed_qc."""
    failure_message: str
    owner: Owner | None
    """Who holds the lease, dead or alive."""
    cancel_requested: bool
    created_at: datetime
    updated_at: datetime

    @property
    def job_id(self) -> str:
        return self.job.job_id


@dataclass(frozen=True)
class JobEvent:
    """One line of a job's history. Equal states: something happened that is not a change of state."""

    job_id: str
    at: datetime
    before: JobState | None
    """None for the first event."""
    after: JobState
    reason: str
    category: str


@dataclass(frozen=True)
class JobStatus:
    """A line of `samaflow status`."""

    record: JobRecord
    chunks: int
    """Chunks of the plan; 0 before there is one."""
    chunks_done: int
    last_event: JobEvent
    """Of a job that failed it carries the failure's message."""
    flow_gone: bool
    """It has not ended and the flow that worked on it is dead: its manifest, run again, takes it over."""


@dataclass(frozen=True)
class DispatchRecord:
    """The decision to edit certain chunks, made once. `claim` takes one whose last six fields are the defaults."""

    dispatch_id: str
    editor: str
    weights: str
    weights_digest: str
    shards: int = 0
    """0 until the shards are written."""
    digest: str = ""
    """sha256 over the shards as written; empty until then."""
    state: DispatchState = DispatchState.CLAIMED
    rounds: int = 0
    """Rounds begun so far."""
    owner: Owner | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    """Why it ended."""


@dataclass(frozen=True)
class Unfinished:
    """A dispatch that has not ended."""

    dispatch: DispatchRecord
    alive: bool
    """Whether its flow lives."""
    owner_id: str
    flow_run_id: str
    """Prefect's; empty when its flow ran outside of Prefect or was not recorded."""
    jobs: tuple[str, ...]
    """Ids of the jobs that have not ended and need its chunks."""

    @property
    def flow(self) -> GoneFlow:
        """Its flow, once that is dead."""
        return GoneFlow(self.owner_id, self.flow_run_id, self.jobs)


@dataclass(frozen=True)
class GoneFlow:
    """A flow that died with work of its own left."""

    owner_id: str
    flow_run_id: str
    """Prefect's; empty when it ran outside of Prefect or was not recorded."""
    jobs: tuple[str, ...]
    """Ids of its jobs that have not ended."""


@dataclass(frozen=True)
class ClaimResult:
    """What a claim got."""

    claimed: tuple[str, ...]
    """Chunk keys, in the order asked for."""
    held: dict[str, str]
    """Chunk key to the unfinished dispatch that holds it."""


@dataclass(frozen=True)
class AttemptRecord:
    """One try of one worker at one shard, as it ended."""

    dispatch_id: str
    index: int
    """The shard's index."""
    attempt: int
    """Number of the try at this shard, over all rounds; of a pod, the round's number from 0: it has a name, and the
    database counts."""
    exit_code: int | None
    """None: nobody saw it end."""
    category: str
    message: str
    gpu_seconds: float
    device: str
    host: str
    started_at: datetime
    ended_at: datetime
    chunks: tuple[str, ...] = ()
    """Keys of the chunks that the seconds were spent on; the jobs that claimed them pay in equal parts."""
    price: float = 0.0
    """Of a GPU hour, as it was set when the attempt ended."""
    currency: str = ""
    worker: str = ""
    """Name of the pod; empty for a process, of which there is one a shard and round."""
    image: str = ""
    """Container image of the pod as its node resolved it, by digest; empty for a process."""


@dataclass(frozen=True)
class MeasuredSeconds:
    """What one editor with one set of weights took in earlier runs; None where nothing was measured."""

    load: float | None
    """From a worker's start to its first chunk."""
    chunk: float | None


@dataclass(frozen=True)
class ArtifactRecord:
    """One file, by what is in it and where it was put."""

    kind: ArtifactKind
    sha256: str
    uri: str
    """Absolute for sources and deliverables, relative to the store for inputs and chunks, `model:` for weights."""
    size: int
    """Bytes; 0 for weights."""
    job_id: str
    """The job that it was made for: deliverables only, else empty."""
    key: str
    """Input key or chunk key, else empty."""
    recorded_at: datetime


@dataclass(frozen=True)
class TrainingRunRecord:
    """A folder in which a small model is trained. `begin_training` takes one whose last seven fields are the
    defaults."""

    run_id: str
    """Made by whoever trained first in the folder, and kept there."""
    curriculum: str
    curriculum_digest: str
    data_digest: str
    """Over what decides every example."""
    folder: str
    code_version: str
    state: TrainingState = TrainingState.TRAINING
    reason: str = ""
    """Why it is paused or failed."""
    weights: str = ""
    """Their name, once they are built."""
    weights_digest: str = ""
    alive: bool = False
    """Whether the flow that trains lives."""
    begun_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class TrainingPartRecord:
    """How far one part of a training run is."""

    part: str
    steps: int
    step: int = 0
    """Steps done."""
    left_out: int = 0
    """Examples."""


@dataclass(frozen=True)
class TrainingFigureRecord:
    """One point of one curve: the mean of a figure over the steps since the point before."""

    part: str
    step: int
    """Steps done."""
    name: str
    value: float | None
    """None: not a finite number."""


@dataclass(frozen=True)
class TrainingLeftOutRecord:
    """An example that could not be trained on."""

    part: str
    step: int
    """Of which it was to be, from 0."""
    number: int
    reason: str
