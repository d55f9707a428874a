"""Content keys: the same pixels asked for twice have the same key, whoever asks, wherever, under whatever name.

Keys never hold names of presets, paths, priorities or machines.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edits.job import Sampling


def digest(fields: dict[str, object]) -> str:
    """sha256 over canonical JSON (sorted keys, no spaces), in 64 hex digits."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes, in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class InputFields:
    """Everything that decides the pixels of a chunk's input."""

    source_sha256: str
    stream: int
    start: int
    end: int
    padding: int
    width: int
    height: int
    fit: str
    colour: str
    """Colour interpretation: `matrix/primaries/transfer/range`, as used."""
    tone_curve: str
    deinterlacing: str
    resampler: str
    """Name and version of the resampler, e.g. `area/1`."""


@dataclass(frozen=True)
class ChunkFields:
    """Everything that decides the pixels of an edited chunk."""

    input_key: str
    noise_origin: int
    joint_range: tuple[int, int] | None
    editor: str
    editor_version: str
    weights_digest: str
    loras: tuple[tuple[str, float], ...]
    """(digest, scale) of each, in order."""
    instruction: str
    prompts: tuple[str, ...]
    mask_sha256: str
    reference_sha256: str
    seed: int
    sampling: Sampling | None
    numerics: str


def input_key(fields: InputFields) -> str:
    """32 hex digits."""
    return digest({"kind": "input/1", **asdict(fields)})[:32]


def chunk_key(fields: ChunkFields) -> str:
    """32 hex digits."""
    return digest({"kind": "chunk/1", **asdict(fields)})[:32]


def job_id(source_sha256: str, resolved_row: dict[str, object], output: str) -> str:
    """16 hex digits over (source digest, resolved row, resolved output URI): the same row again is the same job."""
    return digest({"kind": "job/1", "source": source_sha256, "row": resolved_row, "output": output})[:16]
