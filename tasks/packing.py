"""How chunks become shards: which chunks a worker is told of, how many go into one shard, how many into one wave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edits.job import Chunk, ShardChunk
from edits.shots import asked_of
from tasks.groups import Group, grouped, windows_of
from tasks.split import Prepared

LOADING_SHARE = 0.05
"""Of a worker's time that loading the model may cost, if there are chunks enough."""
SHARDS_PER_PLACE = 3
"""Shards a place, so that a fast one takes over what a slow one has not begun."""


@dataclass(frozen=True)
class Timings:
    """What a worker needs, in seconds."""

    load: float
    """From its start to its first chunk."""
    chunk: float


def packed_size(chunks: int, free: int, places: int, timings: Timings) -> tuple[int, int]:
    """(shards, chunks) of the next wave, of `chunks` that wait while `free` of `places` are free.

    A shard is the larger of 'loading costs at most 5 %' and 'three shards a place', but there are never fewer shards
    than free places while chunks last. What a wave leaves waits for the places that get free next.
    """
    by_loading = math.ceil(timings.load * (1 - LOADING_SHARE) / LOADING_SHARE / max(timings.chunk, 1e-6))
    each = SHARDS_PER_PLACE if places > 1 else 1  # one place alone has nobody to share with
    size = max(by_loading, math.ceil(chunks / (each * places)), 1)
    shards = max(min(math.ceil(chunks / size), each * free), min(free, chunks))
    return shards, min(chunks, shards * size)


def pack(chunks: Sequence[ShardChunk], shards: int) -> list[tuple[Group, ...]]:
    """Deal `chunks` into at most `shards` runs of nearly equal length, in order: one video's chunks stay together.

    Chunks that are edited as one stay in one shard.
    """
    groups = grouped(chunks)
    count = min(shards, len(groups))
    bounds = [len(groups) * k // count for k in range(count + 1)]
    return [tuple(groups[a:b]) for a, b in pairwise(bounds)]


def shard_chunk(prepared: Prepared, chunk: Chunk, temporal_factor: int) -> ShardChunk:
    """What the worker is told of one chunk."""
    job, plan = prepared.job, prepared.plan
    instruction, seed = asked_of(job, chunk.shot)
    windows = windows_of(plan, chunk)
    return ShardChunk(
        chunk_key=chunk.chunk_key,
        input_key=chunk.input_key,
        input_sha256=prepared.inputs[chunk.input_key].sha256,
        frames=chunk.frames,
        width=plan.width,
        height=plan.height,
        instruction=instruction,
        seed=seed,
        sampling=job.sampling,
        first_latent=(chunk.start - chunk.noise_origin) // temporal_factor,
        group=windows[0].chunk_key if len(windows) > 1 else "",
        windows=len(windows),
        deep=plan.deep,
    )
