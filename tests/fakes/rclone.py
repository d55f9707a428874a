"""A second S3 server: rclone over a folder. Unlike moto it ignores conditions of writes and takes no tags."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.command import wait_until
from tests.fakes.prefect_server import free_port
from tests.fakes.s3 import BUCKET, ENVIRON

RCLONE = Path(sys.executable).with_name("rclone")


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Its URL; buckets are folders, and `BUCKET` is there."""
    (folder / BUCKET).mkdir(parents=True)
    port = free_port()
    keys = f"{ENVIRON['AWS_ACCESS_KEY_ID']},{ENVIRON['AWS_SECRET_ACCESS_KEY']}"
    command = [str(RCLONE), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", keys]
    options = ["--config", "/dev/null", "--vfs-cache-mode", "off", "--log-level", "ERROR"]
    with subprocess.Popen([*command, *options]) as server:
        try:
            wait_until(lambda: _listens(port), "rclone")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
