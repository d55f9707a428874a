"""The records that travel: from a manifest row to the worker and back. Frozen, plain, and JSON by `edits.wire`.

Nothing here computes; `edits.keys` makes the digests, `edits.plan` the chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from pydantic import ConfigDict

from edits.seams import USUAL, Seams

STRICT = ConfigDict(extra="forbid")
"""pydantic's word for 'an unknown field is an error', shared by every record."""


class JobState(StrEnum):
    """Where an edit job is in its life. The allowed changes are `TRANSITIONS`."""

    PLANNED = "planned"
    SPLITTING = "splitting"
    QUEUED = "queued"
    EDITING = "editing"
    STITCHING = "stitching"
    CHECKING = "checking"
    AWAITING_REVIEW = "awaiting_review"
    DELIVERED = "delivered"
    FAILED = "failed"
    FAILED_QC = "failed_qc"
    CANCELLED = "cancelled"


_S = JobState
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.PLANNED: frozenset({_S.SPLITTING, _S.FAILED, _S.CANCELLED}),
    _S.SPLITTING: frozenset({_S.QUEUED, _S.FAILED, _S.CANCELLED, _S.PLANNED}),
    _S.QUEUED: frozenset({_S.EDITING, _S.STITCHING, _S.FAILED, _S.CANCELLED, _S.PLANNED}),
    _S.EDITING: frozenset({_S.STITCHING, _S.FAILED, _S.CANCELLED, _S.PLANNED}),
    _S.STITCHING: frozenset({_S.CHECKING, _S.FAILED, _S.CANCELLED, _S.PLANNED}),
    _S.CHECKING: frozenset({_S.DELIVERED, _S.AWAITING_REVIEW, _S.FAILED, _S.FAILED_QC, _S.CANCELLED, _S.PLANNED}),
    _S.AWAITING_REVIEW: frozenset({_S.DELIVERED, _S.PLANNED, _S.CANCELLED, _S.FAILED}),
    _S.DELIVERED: frozenset({_S.PLANNED}),
    _S.FAILED: frozenset({_S.PLANNED, _S.CANCELLED}),
    _S.FAILED_QC: frozenset({_S.PLANNED, _S.CANCELLED}),
    _S.CANCELLED: frozenset({_S.PLANNED}),
}
"""From each state, the states that may follow. A job whose flow died starts again at PLANNED; the store stays."""

TERMINAL = frozenset({_S.DELIVERED, _S.FAILED, _S.FAILED_QC, _S.CANCELLED})
"""States in which no flow works on the job."""


@dataclass(frozen=True)
class Sampling:
    """A resolved sampling recipe: presets are looked up before this exists."""

    __pydantic_config__ = STRICT
    steps: int
    guidance: float
    shift: float
    """Flow-matching time shift: sigma = shift*u / (1 + (shift-1)*u)."""
    guided: float = 1.0
    """Share of the steps, from the first on, that are guided; below 1 it is an approximation."""
    step_cache: float = 0.0
    """Relative drift below which a step reuses the velocity of the one before; above 0 it is an approximation."""


@dataclass(frozen=True)
class ShotEdit:
    """What is other for one shot of a job; what is not said is as for all of it."""

    __pydantic_config__ = STRICT
    shot: int
    """Number of the shot in the plan, from 0."""
    seed: int | None = None
    instruction: str = ""


@dataclass(frozen=True)
class EditJob:
    """One validated row: which frames of which source become what, and where the deliverable goes."""

    __pydantic_config__ = STRICT
    job_id: str
    manifest_id: str
    line: int
    """1-based line of the manifest."""
    source: str
    """Absolute URI (`file:///...` or `s3://...`)."""
    source_sha256: str
    start: int
    end: int
    """Half-open frame range `[start, end)` in decode order."""
    instruction: str
    """Cleaned: no control characters, white space collapsed."""
    editor: str
    weights: str
    weights_digest: str
    preset: str
    """The name that was resolved into `sampling`; for people, never in a key."""
    seed: int
    sampling: Sampling | None
    """None for editors without a sampler."""
    deliverable: str
    detail: str
    """`full`, `tone` or `upscale`: how the source's resolution comes back."""
    output: str
    """Absolute URI of the deliverable file."""
    project: str
    priority: int
    """Larger goes first."""
    notes: str
    scope: str = "range"
    """`range` (frames `[start, end)` are delivered) or `full` (the whole source, with only those changed)."""
    handles: int = 0
    """Frames at either end of `[start, end)` beyond the range that the row names."""
    fit: str = "squeeze"
    """`squeeze` or `pad`: how the picture becomes the working size."""
    interlaced: str = "refuse"
    """`refuse` or `deinterlace`."""
    alpha: str = "refuse"
    """`refuse`, `carry` or `drop`."""
    audio: tuple[int, ...] | None = None
    """Numbers of the audio tracks that are carried, from 1; None: all."""
    cuts: tuple[int, ...] | None = None
    """Frames at which a shot begins, as the row's cut list says; None: as found in the source."""
    rate: Fraction | None = None
    """Frames a second of a sequence of pictures; None: as the file says."""
    shots: tuple[ShotEdit, ...] = ()
    """Shots that are edited otherwise, in order."""
    seams: Seams = USUAL
    """How the chunks of a shot are joined."""
    mask: str = ""
    """Absolute URI of a mask that was given; empty: it is found."""
    mask_sha256: str = ""
    lut: str = ""
    """Absolute URI of the LUT through which the editor sees camera log; empty: none."""
    lut_sha256: str = ""
    review: str = ""
    """`required`: the finished file waits for approval. Decides no pixel, so it is not in `job_id`."""


@dataclass(frozen=True)
class Chunk:
    """A run of frames edited in one model call: `[start, end)` of the source, then `padding` repeats of the last."""

    __pydantic_config__ = STRICT
    index: int
    """Number within the plan, in order of start."""
    shot: int
    start: int
    end: int
    padding: int
    """Repeats of the last frame that bring the length to 4k+1; trimmed after the edit."""
    lead: int
    """Frames at the head that get no weight in a blend: 0 for a shot's first chunk."""
    noise_origin: int
    """First source frame of the shot: noise of latent frame k of the chunk has index (start - noise_origin)/4 + k."""
    input_key: str
    chunk_key: str

    @property
    def frames(self) -> int:
        """Frames that the model sees: the range and its padding."""
        return self.end - self.start + self.padding


@dataclass(frozen=True)
class VideoPlan:
    """What is to be done for one job; written once to `jobs/<job_id>/plan.json` and never recomputed."""

    __pydantic_config__ = STRICT
    job: EditJob
    width: int
    height: int
    """Working size in pixels, at which chunks are stored."""
    fit: str
    shots: tuple[tuple[int, int], ...]
    """Half-open frame ranges that tile `[job.start, job.end)`."""
    chunks: tuple[Chunk, ...]
    editor_version: str
    numerics: str
    """Numerics class: dtype, quantisation, tiling, caches."""
    deep: bool = False
    """Edited pictures have 16 bits: source or deliverable has more than 8, and the editor's model gives floats."""


@dataclass(frozen=True)
class InputRecord:
    """`inputs/<input_key>/input.json`: written after `input.mov`; says that it is whole."""

    __pydantic_config__ = STRICT
    input_key: str
    sha256: str
    size: int
    frames: int
    width: int
    height: int


@dataclass(frozen=True)
class ShardChunk:
    """Everything a worker needs to edit one chunk."""

    __pydantic_config__ = STRICT
    chunk_key: str
    input_key: str
    input_sha256: str
    frames: int
    width: int
    height: int
    instruction: str
    seed: int
    sampling: Sampling | None
    first_latent: int
    """Absolute index, within the shot, of the chunk's first latent frame: decides its noise."""
    group: str = ""
    """Chunks of one group are the windows of a shot that is edited as one; empty: edited alone."""
    windows: int = 1
    """Chunks in the group."""
    deep: bool = False
    """16 bits are asked for."""


@dataclass(frozen=True)
class Shard:
    """`dispatches/<dispatch_id>/<index>.json`: the groups that one worker drains with its model loaded once."""

    __pydantic_config__ = STRICT
    protocol: int
    dispatch_id: str
    index: int
    editor: str
    editor_version: str
    weights: str
    weights_digest: str
    groups: tuple[tuple[ShardChunk, ...], ...]

    @property
    def chunks(self) -> tuple[ShardChunk, ...]:
        return tuple(chunk for group in self.groups for chunk in group)


PROTOCOL = 1
"""Version of the worker protocol; a worker refuses a shard of another."""


@dataclass(frozen=True)
class Marker:
    """`chunks/<chunk_key>/result.json`, written last: the edited chunk that it names is whole and verified."""

    __pydantic_config__ = STRICT
    chunk_key: str
    output: str
    """File name beside the marker: `output-<first 16 of sha256>.mov`, of older workers `.mkv`."""
    sha256: str
    size: int
    frames: int
    width: int
    height: int
    editor: str
    editor_version: str
    weights_digest: str
    seed: int
    dispatch_id: str
    seconds: dict[str, float]
    """Wall seconds by part: `get`, `edit`, `write`, `put`."""
    peak_memory_bytes: int
    device: str
    versions: dict[str, str]
    cut_tokens: int = 0
    """Tokens at the instruction's end that did not fit the text encoder; 0: all of it was read."""


@dataclass(frozen=True)
class ChunkFailure:
    """Why one chunk of a shard could not be edited. Lives in the worker's status, never beside the chunk."""

    __pydantic_config__ = STRICT
    chunk_key: str
    category: str
    """`SamaflowError.category` of the error."""
    message: str
    transient: bool


@dataclass(frozen=True)
class WorkerStatus:
    """`dispatches/<dispatch_id>/<index>.<attempt>[.<worker>].status.json`: rewritten at every event and every 30 s."""

    __pydantic_config__ = STRICT
    dispatch_id: str
    index: int
    attempt: int
    state: str
    """`loading`, `editing`, `done`, `failed`, `stopped`."""
    done: tuple[str, ...]
    """Chunk keys that have a marker: edited by this worker or found marked."""
    edited: tuple[str, ...]
    """The part of `done` that this worker edited itself."""
    failed: tuple[ChunkFailure, ...]
    current: str
    """Chunk key in work, or empty."""
    step: int
    steps: int
    gpu_seconds: float
    device: str
    peak_memory_bytes: int
    updated_at: float
    """Unix seconds."""
    exit_code: int | None
    worker: str = ""
    """The name that the worker was called with; the pod's. Empty for a process."""
    problem: str = ""
    """Why the shard as a whole could not be worked on (unreadable, of another protocol); empty otherwise."""
