"""A real Prefect server on a free port, shared by all test processes: starting one costs as much as five tests."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fakes.command import wait_until


@dataclass(frozen=True)
class PrefectServer:
    """One that some test process has started."""

    url: str
    pid: int

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """Not ended in order, which takes its time."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def shared_server(home: Path) -> Iterator[str]:
    """The URL of the server whose database is in `home`: the first who asks starts it, the last who leaves ends it."""
    home.mkdir(exist_ok=True)
    note = home / "server.json"
    with (home / "users").open("w") as users:
        with _alone(home):
            server = PrefectServer(**json.loads(note.read_text())) if note.exists() else start(home, free_port())
            note.write_text(json.dumps(asdict(server)))
            fcntl.flock(users, fcntl.LOCK_SH)
        yield server.url
        with _alone(home), suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while others use the server
            note.unlink()
            server.kill()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """No other test process starts or stops the server meanwhile."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start(home: Path, port: int) -> PrefectServer:
    """A server whose database is in `home`."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    places = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, home / "server.log", os.O_WRONLY | os.O_CREAT, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Not a Popen, which minds when its process outlives it: another test process may be the last to use the server.
    pid = os.posix_spawn(sys.executable, command, environ, file_actions=places)
    server = PrefectServer(f"http://127.0.0.1:{port}/api", pid)
    try:
        wait_until(server.answers, f"the Prefect server; {home}/server.log says why", 180)
    except BaseException:
        server.kill()
        raise
    return server
