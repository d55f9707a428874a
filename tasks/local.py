"""Workers as processes of this machine: at most so many at once, and none that outlives the flow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from edits.errors import WorkerError
from edits.storage import Store, shard_path
from tasks.exits import Outcome as Outcome
from tasks.exits import outcome_of as outcome_of

GRACE_SECONDS = 5.0
"""From SIGTERM, which a worker obeys within two seconds, to SIGKILL."""

_PASSED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)
_PASSED_PREFIXES = ("AWS_", "SAMAFLOW_", "CUDA_", "NVIDIA_", "HIP_", "HF_", "LC_")
_KEPT_BACK = ("SAMAFLOW_DATABASE",)
"""A worker reads untrusted files and needs no database."""


class LocalExecutor:
    """The workers of one round of one dispatch. Threads wait for them, so that a freed place is taken at once."""

    def __init__(
        self,
        store_uri: str,
        workers: int,
        logs: Path,
        endpoint_url: str | None = None,
        environ: Mapping[str, str] = os.environ,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """At most `workers` processes at once; what they print goes to files in the folder `logs`.

        `variables` are set in their environment, whatever `environ` says.
        """
        self._store = Store(store_uri)
        self._logs = logs
        self._environ = worker_environ(environ, workers, endpoint_url) | dict(variables or {})
        self._places = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._ends: dict[int, Future[int]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, dispatch_id: str, indexes: Sequence[int], attempt: int) -> None:
        """Queue a worker for each shard; returns at once. Called once."""
        if self._ends:
            raise ValueError("an executor serves one round; make another one for the next")
        self._logs.mkdir(parents=True, exist_ok=True)
        for index in indexes:
            uri = self._store.uri(shard_path(dispatch_id, index))
            log = self.log(dispatch_id, index, attempt)
            self._ends[index] = self._places.submit(self._work, uri, attempt, log)

    def log(self, dispatch_id: str, index: int, attempt: int) -> Path:
        """Where the worker of a shard prints to."""
        return self._logs / f"{dispatch_id}-{index}.{attempt}.log"

    def poll(self) -> dict[int, int | None]:
        """Exit code by shard index, negative for a signal; None while the worker runs or waits for a place.

        Raises:
            WorkerError: a process could not be started.
        """
        return {index: end.result() if end.done() else None for index, end in self._ends.items()}

    def stop(self) -> None:
        """End all workers, SIGTERM first. Queued ones never start and count as stopped. Repeating it is harmless."""
        with self._lock:
            self._stopped = True
        self._signal(signal.SIGTERM)
        if wait(self._ends.values(), GRACE_SECONDS).not_done:
            self._signal(signal.SIGKILL)
        self._places.shutdown(wait=True)

    def _work(self, uri: str, attempt: int, log: Path) -> int:
        """Run one worker to its end; its exit code."""
        # -P: a folder named `tasks` where the user happens to stand is not ours.
        command = [sys.executable, "-P", "-m", "tasks.gpu", uri, "--attempt", str(attempt), "--parent-pipe"]
        try:
            return self._run(command, log)
        except OSError as error:
            raise WorkerError(f"cannot start a worker that prints to {log}: {error}") from error

    def _run(self, command: list[str], log: Path) -> int:
        with TemporaryDirectory(prefix="samaflow-") as scratch, _device(self._environ) as device, log.open("ab") as out:
            environ = {**self._environ, **device, "TMPDIR": scratch}
            process = self._spawn(command, environ, out.fileno())
            if process is None:
                return -signal.SIGTERM
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                assert process.stdin is not None
                process.stdin.close()

    def _spawn(self, command: list[str], environ: dict[str, str], out: int) -> subprocess.Popen[bytes] | None:
        """Start a worker, unless the executor was stopped while it waited for its place.

        Its standard input is a pipe that this process alone holds: however this process ends, the worker sees it close.
        A group of its own keeps the terminal's Ctrl-C from it, because the flow decides what that means.
        """
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environ, start_new_session=True
            )
            self._running.add(process)
            return process

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            for process in self._running:
                with suppress(ProcessLookupError):
                    process.send_signal(number)


def worker_environ(environ: Mapping[str, str], workers: int, endpoint_url: str | None) -> dict[str, str]:
    """The few variables that a worker gets to see, and its share of this machine's cores."""
    passed = {
        name: value
        for name, value in environ.items()
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and not name.startswith(_KEPT_BACK)
    }
    passed["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // workers))
    if endpoint_url is not None:
        passed["AWS_ENDPOINT_URL"] = endpoint_url
    return passed


# -- devices ----------------------------------------------------------------------------------------------------------

_used: Counter[str] = Counter()
_used_lock = threading.Lock()
"""Over `_used`: how many workers of this process, of whatever executor, have been given each device."""


def devices(environ: Mapping[str, str], drivers: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[str, ...]:
    """The GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them; asks the kernel, because torch is heavy."""
    allowed = environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return tuple(name.strip() for name in allowed.split(",") if name.strip())
    return tuple(str(number) for number in range(len(list(drivers.iterdir())))) if drivers.is_dir() else ()


@contextmanager
def _device(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variable that gives a worker the GPU with the fewest of them, for as long as it runs."""
    names = devices(environ)
    if not names:
        yield {}
        return
    with _used_lock:
        name = min(names, key=lambda name: _used[name])
        _used[name] += 1
    try:
        yield {"CUDA_VISIBLE_DEVICES": name}
    finally:
        with _used_lock:
            _used[name] -= 1
