"""A store with chunk inputs and a shard over them, small enough to edit in milliseconds; and editors that misbehave."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edits import wire
from edits.job import PROTOCOL, Chunk, Sampling, Shard, ShardChunk, WorkerStatus
from edits.media.chunkfile import read_chunk, write_chunk
from edits.storage import Store, input_path, output_path, read_statuses, shard_path, valid_marker
from sama_model.cards import card
from sama_model.config import WeightsCard
from sama_model.editors.base import EditRequest, Frames, Progress

DISPATCH = "d1"


def noise(seed: int, frames: int = 5, width: int = 32, height: int = 16) -> npt.NDArray[np.uint8]:
    """(T, H, W, 3) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def put_chunk(
    store: Store,
    folder: Path,
    number: int,
    frames: npt.NDArray[np.uint8] | None = None,
    instruction: str = "invert",
    sampling: Sampling | None = None,
) -> ShardChunk:
    """Put an input into the store; its chunk."""
    pixels = noise(number) if frames is None else frames
    local = folder / f"source-{number}.mkv"
    write_chunk(local, pixels)
    key = f"{number:032x}"
    store.put_file(input_path(key), local)
    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    local.unlink()
    count, height, width, _ = pixels.shape
    return ShardChunk(
        chunk_key=f"{number + (1 << 120):032x}", input_key=key, input_sha256=digest, frames=count, width=width,
        height=height, instruction=instruction, seed=0, sampling=sampling, first_latent=0,
    )  # fmt: skip


def put_shard(store: Store, chunks: Sequence[ShardChunk], planned_for: str = "grade", **changes: Any) -> Shard:
    """Put shard 0 of `DISPATCH`, each chunk a group of its own, as planned for an editor that is here."""
    weights = "tiny" if planned_for == "sama" else "builtin"
    known = card(planned_for, weights)
    shard = Shard(
        protocol=PROTOCOL, dispatch_id=DISPATCH, index=0, editor=planned_for, editor_version=known.editor_version,
        weights=weights, weights_digest=known.digest, groups=tuple((chunk,) for chunk in chunks),
    )  # fmt: skip
    shard = replace(shard, **changes)
    store.put_bytes(shard_path(DISPATCH, 0), wire.dump(shard))
    return shard


def edited(store: Store, chunk: ShardChunk | Chunk, folder: Path) -> Frames:
    """The frames that the chunk's marker names."""
    marker = valid_marker(store, chunk.chunk_key)
    assert marker is not None
    local = folder / f"edited-{chunk.chunk_key}.mkv"
    store.fetch(output_path(chunk.chunk_key, marker.sha256), local)
    assert hashlib.sha256(local.read_bytes()).hexdigest() == marker.sha256
    return read_chunk(local)


def status_of(store: Store, attempt: int = 0) -> WorkerStatus:
    return read_statuses(store, DISPATCH, [0], attempt)[0]


def command(store: Store, *arguments: str) -> list[str]:
    """The worker, called on the shard."""
    return [sys.executable, "-m", "tasks.gpu", store.uri(shard_path(DISPATCH, 0)), *arguments]


def run_worker(
    store: Store, *arguments: str, environ: dict[str, str] | None = None
) -> tuple[int, list[dict[str, Any]]]:
    """A real worker process to its end: exit code and events."""
    ended = subprocess.run(command(store, *arguments), stdout=subprocess.PIPE, env=environ, check=False, timeout=120)
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


@dataclass
class ScriptedEditor:
    """An editor whose edit is a function; it inverts otherwise."""

    act: Callable[[EditRequest, Progress], Frames | None] = lambda request, progress: None
    device: str = "cpu"
    calls: int = 0

    @property
    def card(self) -> WeightsCard:
        return card("grade", "builtin")

    def edit(self, request: EditRequest, progress: Progress) -> Frames:
        self.calls += 1
        frames = self.act(request, progress)
        return 255 - request.frames if frames is None else frames
