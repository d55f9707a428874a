"""What the questions of `sql.questions` are answered with. Frozen; field names are the stable keys of `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edits.job import JobState


@dataclass(frozen=True)
class MadeFile:
    """A job, and a deliverable that it made, if it made one."""

    job_id: str
    state: JobState
    project: str
    editor: str
    source_sha256: str
    uri: str
    """Where the deliverable was put, or is to go."""
    sha256: str
    """Empty while nothing was made."""
    recorded_at: datetime | None
    generation: int = 1
    """1: made by what was asked for itself; 2: made from a deliverable of that; and so on."""


@dataclass(frozen=True)
class ModelLine:
    """One version of a model: editor code and weights."""

    model_version_id: int
    editor: str
    editor_version: str
    weights: str
    digest: str
    converter: str
    loras: str


@dataclass(frozen=True)
class Recall:
    """All that a model touched."""

    models: tuple[ModelLine, ...]
    chunks: int
    """Chunks planned for these versions, edited or not."""
    files: tuple[MadeFile, ...]


@dataclass(frozen=True)
class UsageLine:
    """GPU time of one group; a field that was not grouped by is empty."""

    day: str
    project: str
    editor: str
    chunks: int
    gpu_seconds: float
    gpu_hours: float
    cost: float
    """At the prices that were set when the work was done; 0 where none was."""
    currency: str


@dataclass(frozen=True)
class FailureCause:
    """The times that jobs, workers or rows without a job failed for one cause: what failed twice counts twice."""

    subject: str
    """`job`, `worker` or `row`."""
    category: str
    editor: str
    count: int
    last_at: datetime
    example: str
    """The message of the last one."""
    example_id: str
    """Job, dispatch, or manifest and line of the last one."""
    standing: int = 0
    """Jobs that are failed for this cause now; the others went on since. 0 for workers."""


@dataclass(frozen=True)
class StateTime:
    """How long jobs were in one state."""

    state: JobState
    jobs: int
    seconds: float
    """Of all jobs together."""
    mean: float
    """Seconds a job."""
    longest: float


@dataclass(frozen=True)
class StuckJob:
    """A job that does not get on."""

    job_id: str
    state: JobState
    project: str
    editor: str
    updated_at: datetime
    idle_seconds: float
    why: str


@dataclass(frozen=True)
class StuckDispatch:
    """A dispatch that holds chunks and whose flow is silent."""

    dispatch_id: str
    state: str
    editor: str
    weights: str
    rounds: int
    chunks: int
    created_at: datetime
    silent_seconds: float


@dataclass(frozen=True)
class Stuck:
    """What does not get on by itself."""

    jobs: tuple[StuckJob, ...]
    dispatches: tuple[StuckDispatch, ...]
