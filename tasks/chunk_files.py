"""One chunk's files on the worker's side: its input, checked before the edit, and its output, read back once written.

Knows neither editors nor the order of things; the decoder is imported when the first chunk needs it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edits.errors import RecordError, VerificationError
from edits.job import ShardChunk
from edits.keys import sha256_of
from edits.storage import Store, input_path
from sama_model.editors.base import Frames, array_of


def get_input(store: Store, chunk: ShardChunk, scratch: Path) -> npt.NDArray[np.uint8]:
    """The (T, H, W, 3) frames that were split off for the chunk.

    Raises:
        RecordError: they are not in the store.
        VerificationError: other bytes, another count or another size than was planned.
    """
    from edits.media.chunkfile import read_chunk

    path = input_path(chunk.input_key)
    if (local := store.local(path)) is None:
        local = scratch / "input.mov"
        store.fetch(path, local)
    elif store.size(path) is None:
        raise RecordError(f"{store.uri(path)}: the chunk's input is not in the store; split it again")
    if (found := sha256_of(local)) != chunk.input_sha256:
        raise VerificationError(
            f"{store.uri(path)}: sha256 {found} instead of {chunk.input_sha256}; delete it and split it again"
        )
    frames = array_of(read_chunk(local))
    _check_shape(chunk, frames, "the input")
    return frames


def write_output(chunk: ShardChunk, edited: Frames, scratch: Path) -> Path:
    """A local file that holds `edited`, known by having been read back.

    Raises:
        VerificationError: `edited` is not of the chunk's shape, or the file holds other frames.
    """
    from edits.media.chunkfile import read_chunk, write_chunk

    _check_shape(chunk, edited, "the editor's output")
    local = scratch / "output.mov"
    write_chunk(local, edited)
    if not np.array_equal(read_chunk(local), edited):
        raise VerificationError(f"chunk {chunk.chunk_key}: the file that was written holds other frames")
    return local


def _check_shape(chunk: ShardChunk, frames: Frames, what: str) -> None:
    planned = (chunk.frames, chunk.height, chunk.width, 3)
    if frames.shape != planned:
        raise VerificationError(f"chunk {chunk.chunk_key}: {what} is (T, H, W, C) {frames.shape}, planned is {planned}")
