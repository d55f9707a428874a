"""What a deliverable was made from: the records that `samaflow lineage` shows. Plain facts; `sql` finds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import AwareDatetime

from edits import wire
from edits.job import STRICT, EditJob, JobState
from edits.media.records import Check, StreamDigest


@dataclass(frozen=True)
class SourceLineage:
    """The source, by the digest of its bytes."""

    __pydantic_config__ = STRICT
    sha256: str
    uri: str
    """Where it was when the job was planned."""
    size: int
    """Bytes."""
    frames: int
    details: dict[str, Any] = field(default_factory=dict)
    """What its index says beside timestamps and cuts: stream, picture size, rate, colour. Empty when the source was
    recovered from a plan."""
    made_by: str = ""
    """The job whose deliverable the source itself is; empty when no job here made it."""


@dataclass(frozen=True)
class ChunkLineage:
    """One edited chunk file that stitch used, and how it was made."""

    __pydantic_config__ = STRICT
    chunk_key: str
    sha256: str
    """Of the edited chunk's file."""
    start: int
    end: int
    padding: int
    input_key: str
    input_sha256: str
    """Empty when the input was written before this database was there."""
    seed: int
    editor: str
    editor_version: str
    weights: str
    weights_digest: str
    device: str
    dispatch_id: str
    seconds: dict[str, float]
    versions: dict[str, str]
    converter: str = ""
    """What made the weights' files of the released ones."""
    loras: str = ""


@dataclass(frozen=True)
class WorkingForm:
    """How the source was cut and scaled for the editor."""

    __pydantic_config__ = STRICT
    width: int
    height: int
    fit: str
    shots: tuple[tuple[int, int], ...]
    editor_version: str
    numerics: str
    deep: bool = False
    """Whether edited pictures had 16 bits."""


@dataclass(frozen=True)
class Delivery:
    """`jobs/<job_id>/delivery.json`: what was published for a job, and of which chunk files it was made."""

    __pydantic_config__ = STRICT
    job_id: str
    uri: str
    sha256: str
    size: int
    streams: tuple[StreamDigest, ...]
    chunks: dict[str, str]
    """Chunk key to the sha256 of the file that stitch used."""
    code_version: str
    encoding: str
    credentials: str
    made_at: AwareDatetime | None = None
    """UTC; None in records of before this was written down."""
    checks: tuple[Check, ...] = ()
    """What was compared on the file before it was published."""


@dataclass(frozen=True)
class Origin:
    """Who had it done, in which flow run, with which settings and code."""

    __pydantic_config__ = STRICT
    flow_run_id: str
    flow: str
    submitted_by: str
    settings: dict[str, Any]
    code_version: str
    lock_digest: str
    """sha256 over `packages`."""
    packages: dict[str, str]
    image_digest: str


@dataclass(frozen=True)
class Review:
    """What somebody decided of the job."""

    __pydantic_config__ = STRICT
    decision: str
    reviewer: str
    """As claimed."""
    reason: str
    sha256: str
    """The deliverable that was looked at; empty when it was something else, a preview say."""
    at: str
    """ISO 8601, UTC."""
    changes: str = ""
    """What is other in the job that took this one's place; empty where none did."""
    successor_id: str = ""
    """That job."""


@dataclass(frozen=True)
class Lineage:
    """Everything behind one deliverable, as it was when the deliverable was recorded."""

    __pydantic_config__ = STRICT
    sha256: str
    uri: str
    size: int
    """Bytes."""
    recorded_at: str
    """ISO 8601, UTC."""
    streams: tuple[StreamDigest, ...]
    copies: tuple[str, ...]
    """Other places where a deliverable with the same bytes was recorded."""
    job: EditJob
    """The resolved row: instruction, seed, sampling, deliverable, detail."""
    state: JobState
    """The job's state now."""
    plan: WorkingForm | None
    source: SourceLineage
    chunks: tuple[ChunkLineage, ...]
    """In order of start."""
    code_version: str
    encoding: str = ""
    """Encoder, options and threads."""
    credentials: str = ""
    """What was said of content credentials when the file was published."""
    origin: Origin | None = None
    """None for what was made before flow runs were recorded."""
    checks: tuple[Check, ...] = ()
    """What was compared on the file before it was published."""
    reviews: tuple[Review, ...] = ()
    """The oldest first."""
    worker_images: tuple[str, ...] = ()
    """Container images, by digest, of the workers that edited the chunks; none where they were processes."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`: the field names above are its stable keys."""
        plain: dict[str, Any] = json.loads(wire.dump(self))
        return plain
