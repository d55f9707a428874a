"""What tests with real processes share: one Prefect server a test process, and clips."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, wait_until


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server on a free port, with its own database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(f"{url}/health"), "the Prefect server", 90)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


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
    shutil.copytree(folder.path, folder.path.with_name("library.kept"))
    return folder


@pytest.fixture
def library(delivered: Folder) -> Iterator[Folder]:
    """That run's folder, lent: whatever a test does to it is undone."""
    yield delivered
    shutil.rmtree(delivered.path)
    shutil.copytree(delivered.path.with_name("library.kept"), delivered.path)


@pytest.fixture
def folder(tmp_path: Path, prefect_url: str) -> Folder:
    return Folder(tmp_path / "work", prefect_url)
