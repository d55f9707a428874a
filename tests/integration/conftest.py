"""What tests with real processes share: one Prefect server, and a run of which many ask something."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder
from tests.fakes.prefect_server import shared_server


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    base = tmp_path_factory.getbasetemp()
    with shared_server((base if worker_id == "master" else base.parent) / "prefect") as url:
        yield url


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Folder:
    """One run: a signed MP4, a Matroska file with its credentials beside it, and a row whose place is taken. Its events
    went to `events.jsonl`."""
    folder = Folder(tmp_path_factory.mktemp("library"), prefect_url)
    clip = write_clip(folder.path / "clip.mp4", frames=50, rate=Fraction(25), cuts=(30,))
    (folder.path / "samaflow.toml").write_text("[openlineage]\nevents = true\n[cost]\ngpu_hour = 2.0\n")
    sink = f"type: file\n  log_file_path: {folder.path}/events.jsonl\n  append: true\n"
    (folder.path / "openlineage.yml").write_text(f"transport:\n  {sink}")
    (folder.path / "taken.mp4").write_text("not ours")
    row = {"source": clip, "instruction": "turn it sepia", "editor": "grade", "project": "winter"}
    kept = {"source": clip, "instruction": "leave it", "editor": "passthrough", "deliverable": "ffv1"}
    folder.manifest(row, kept, {**row, "output": folder.path / "taken.mp4"})
    folder.edit(code=1)
    return folder


@pytest.fixture
def library(delivered: Folder) -> Iterator[Folder]:
    """That run's folder, lent."""
    with delivered.lent():
        yield delivered


@pytest.fixture
def folder(tmp_path: Path, prefect_url: str) -> Folder:
    return Folder(tmp_path / "work", prefect_url)
