"""A process that is killed while it writes: what is in the store afterwards is whole, or is not there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edits.storage import Store
from tests.fakes.s3 import BUCKET, ENVIRON, TroubledS3, s3_server

LIMITED = """
import resource, signal, sys
from pathlib import Path
from edits.storage import Store
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel kills the process at the limit, in the middle of a write
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
Store(sys.argv[1]).put_file("inputs/k/input.mov", Path(sys.argv[2]))
"""

PLAIN = """
import sys
from pathlib import Path
from edits.storage import Store
Store(sys.argv[1], endpoint_url=sys.argv[3]).put_file("inputs/k/input.mov", Path(sys.argv[2]))
"""


def test_a_writer_killed_half_way_leaves_no_object_in_a_folder(tmp_path: Path) -> None:
    local = tmp_path / "input.mov"
    local.write_bytes(b"x" * 4_000_000)
    folder = tmp_path / "store"
    ended = subprocess.run([sys.executable, "-c", LIMITED, str(folder), str(local)], check=False)
    assert ended.returncode == -signal.SIGXFSZ
    store = Store(str(folder))
    assert [path.suffix for path in (folder / "inputs/k").iterdir()] == [".part"]
    assert store.size("inputs/k/input.mov") is None
    assert store.list() == []
    store.put_file("inputs/k/input.mov", local)
    assert store.list() == ["inputs/k/input.mov"]


def test_a_writer_killed_half_way_leaves_no_object_in_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "input.mov"
    local.write_bytes(b"x" * 4_000_000)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with s3_server() as url, TroubledS3(url) as proxy:
        proxy.faults.append("swallow")
        command = [sys.executable, "-c", PLAIN, f"s3://{BUCKET}/p", str(local), proxy.url]
        writer = subprocess.Popen(command)
        assert proxy.swallowing.wait(60)
        writer.kill()
        assert writer.wait(60) == -signal.SIGKILL
        store = Store(f"s3://{BUCKET}/p", endpoint_url=url)
        assert store.size("inputs/k/input.mov") is None
        assert store.list() == []
