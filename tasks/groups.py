"""Which chunks of a dispatch are edited as one: normally each alone, in joint mode all windows of a shot."""

from __future__ import annotations

from collections.abc import Sequence

from edits.job import Chunk, ShardChunk, VideoPlan

Group = tuple[ShardChunk, ...]


def windows_of(plan: VideoPlan, chunk: Chunk) -> tuple[Chunk, ...]:
    """The chunks of the plan that are edited together with `chunk`, itself included, in order."""
    if not plan.job.seams.joint:
        return (chunk,)
    return tuple(other for other in plan.chunks if other.shot == chunk.shot)


def grouped(chunks: Sequence[ShardChunk]) -> list[Group]:
    """The groups of `chunks`, in the order of their first members; windows in order of their place in the shot."""
    groups: dict[str, list[ShardChunk]] = {}
    for chunk in chunks:
        groups.setdefault(chunk.group or chunk.chunk_key, []).append(chunk)
    return [tuple(sorted(group, key=lambda chunk: chunk.first_latent)) for group in groups.values()]
