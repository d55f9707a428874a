"""How far the edit of a shot is, kept in the store, so that a worker that is killed costs a few steps and not all."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from edits.errors import StoreError
from edits.job import ShardChunk
from edits.storage import Store, checkpoint_path


class ShotCheckpoint:
    """One shot's, named by its first window: the key says all that decides the shot's pixels."""

    def __init__(self, store: Store, group: Sequence[ShardChunk]) -> None:
        self._store = store
        self._path = checkpoint_path(group[0].chunk_key)

    def load(self) -> bytes | None:
        return self._store.read_or_none(self._path)

    def save(self, data: bytes) -> None:
        """A checkpoint that cannot be written costs nothing but itself."""
        with contextlib.suppress(StoreError):
            self._store.put_bytes(self._path, data)

    def forget(self) -> None:
        """The markers are written: it is of no more use."""
        with contextlib.suppress(StoreError):
            self._store.delete(self._path)
