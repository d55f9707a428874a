"""The names that files have while they are written, and the errors of writing them, made ours."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from av.error import FFmpegError

from edits.errors import OutputError, StoreError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def aside(path: Path) -> Path:
    """Where `path` is written until it is whole: hidden, beside it, with its suffix, this process's own."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the file system and of the muxer, said about `path`.

    Raises:
        StoreError: no room on the disk.
        OutputError: the folder cannot be written, or a muxer refuses.
    """
    try:
        yield
    except MemoryError:
        raise
    except (OSError, FFmpegError) as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreError(
                f"{path}: no room to write it ({reason}); free space on the disk of {path.parent}"
            ) from error
        raise OutputError(f"{path}: cannot be written ({reason}); check the folder and its rights") from error
