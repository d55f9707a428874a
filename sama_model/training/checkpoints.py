"""Checkpoints of a training run: a folder a step, and a marker that is written last. What has no marker does not exist.

RUN/00000500/...                networks, optimiser, average
RUN/00000500/checkpoint.json    the marker: step, digest of the settings, sha256 of every other file
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sama_model.errors import WeightsError
from sama_model.installed import sha256_of

MARKER = "checkpoint.json"
KEPT = 2
"""Checkpoints of a run that are kept, the newest."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint."""

    step: int
    """Steps done."""
    settings: str
    """What it was made under: digest of the settings, the examples, and what was there before."""
    files: tuple[tuple[str, str], ...]
    """Names and sha256."""


def write(run: Path, step: int, settings: str, save: Callable[[Path], object]) -> Path:
    """Has `save` fill a folder, then marks it; older ones than the newest `KEPT` are removed, their marker first."""
    folder = run / f"{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save(folder)
    files = tuple(
        (path.relative_to(folder).as_posix(), sha256_of(path)) for path in sorted(folder.rglob("*")) if path.is_file()
    )
    marked(folder, Checkpoint(step, settings, files))
    for old in whole(run)[:-KEPT]:
        (old / MARKER).unlink()
        shutil.rmtree(old)
    return folder


def marked(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the marker aside, and renames it once it is on the disk."""
    aside = folder / f"{MARKER}.part"
    with aside.open("w") as file:
        json.dump(asdict(checkpoint), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / MARKER)


def whole(run: Path) -> list[Path]:
    """Folders of checkpoints that have a marker, the oldest first."""
    return sorted(marker.parent for marker in run.glob(f"*/{MARKER}"))


def newest(run: Path, settings: Callable[[int], str]) -> tuple[Path, Checkpoint] | None:
    """Where to go on under `settings`, which are told of so many steps done; None: at the beginning.

    Raises:
        WeightsError: it was made under other settings, or a file is not the one that was written.
    """
    folders = whole(run)
    if not folders:
        return None
    folder = folders[-1]
    checkpoint = read(folder / MARKER)
    if checkpoint.settings != settings(checkpoint.step):
        raise WeightsError(
            f"{folder}: made under other settings or examples, or from other networks; remove {run} to begin "
            "this part again, or give the run a folder of its own"
        )
    for name, digest in checkpoint.files:
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            raise WeightsError(f"{path}: missing or changed since it was written; remove {folder} to go on before it")
    return folder, checkpoint


def read(marker: Path) -> Checkpoint:
    """The marker as a record."""
    fields = json.loads(marker.read_text())
    return Checkpoint(fields["step"], fields["settings"], tuple((name, digest) for name, digest in fields["files"]))
