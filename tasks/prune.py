"""Removing chunk files that nothing needs: first the record, then the marker, then the files it vouched for.

In that order a crash leaves a file that is no longer believed in, never a marker without its file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sql
from edits import storage
from edits.storage import Store


@dataclass(frozen=True)
class Pruning:
    """What was, or would be, removed. Part of the `--json` output: fields are added, never renamed."""

    removed: bool
    """False: nothing was touched, this is what would be."""
    chunks: tuple[sql.PrunableChunk, ...]
    inputs: tuple[str, ...]
    """Input keys whose files go too; known only once the chunks are gone."""
    bytes: int
    """Of the edited chunks."""


def forecast(db: sql.Database, policy: sql.Policy) -> Pruning:
    """What `prune` would remove now."""
    chunks = sql.prunable_chunks(db, policy)
    return Pruning(False, chunks, (), sum(chunk.size for chunk in chunks))


def prune(db: sql.Database, store: Store, policy: sql.Policy, chunks: Sequence[sql.PrunableChunk]) -> Pruning:
    """Remove the files of those of `chunks` that the policy still gives up."""
    gone = sql.forget_chunks(db, [chunk.chunk_key for chunk in chunks], policy)
    for chunk in gone:
        store.delete(storage.marker_path(chunk.chunk_key))
        for path in store.list(storage.chunk_folder(chunk.chunk_key)):
            store.delete(path)
    inputs = sql.unused_inputs(db, [chunk.input_key for chunk in gone])
    for key in inputs:
        store.delete(storage.input_record_path(key))
        for path in store.list(storage.input_folder(key)):
            store.delete(path)
    return Pruning(True, gone, inputs, sum(chunk.size for chunk in gone))
