"""Workers as processes of this machine: at most so many at once, and none that outlives the flow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from edits.errors import WorkerError
from edits.storage import Store, shard_path
from tasks.executor import RoundOrder, RoundView, WorkerView
from tasks.exits import outcome_of

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
    """Places for worker processes on this machine, shared by all rounds of a run."""

    outlives_flow = False
    poll_seconds = 0.2

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
        self.places = workers
        self._store = Store(store_uri)
        self._logs = logs
        self._environ = worker_environ(environ, workers, endpoint_url) | dict(variables or {})
        self._free = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._rounds: list[LocalRound] = []

    def begin(self, order: RoundOrder) -> LocalRound:
        """Queue a worker for each shard; returns at once."""
        self._logs.mkdir(parents=True, exist_ok=True)
        begun = LocalRound(order, self._store, self._logs, self._environ, self._free)
        self._rounds.append(begun)
        return begun

    def resume(self, order: RoundOrder) -> None:
        """There is nothing to resume: no worker process outlives its flow."""

    def blame(self, host: str, shard: str) -> None:
        """This machine is the only one there is."""

    def praise(self, host: str) -> None:
        """This machine is the only one there is."""

    def close(self) -> None:
        """Rounds that are not stopped yet, since a second signal came between, are: nothing is edited any more."""
        for begun in self._rounds:
            begun.stop()
        self._free.shutdown(wait=True)


class LocalRound:
    """The workers of one round. Threads wait for them, so that a freed place is taken at once."""

    def __init__(
        self, order: RoundOrder, store: Store, logs: Path, environ: Mapping[str, str], free: ThreadPoolExecutor
    ) -> None:
        self._order = order
        self._logs = logs
        self._environ = environ
        self._running: set[subprocess.Popen[bytes]] = set()
        self._started: dict[int, datetime] = {}
        self._ended: dict[int, datetime] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._ends: dict[int, Future[int]] = {}
        for index in order.indexes:
            uri = store.uri(shard_path(order.dispatch_id, index))
            self._ends[index] = free.submit(self._work, index, uri)

    def log(self, index: int) -> Path:
        """Where the worker of a shard prints to."""
        return self._logs / f"{self._order.dispatch_id}-{index}.{self._order.attempt}.log"

    def poll(self) -> RoundView:
        """See `Round`; exit codes are negative for a signal.

        Raises:
            WorkerError: a process could not be started.
        """
        codes = {index: end.result() if end.done() else None for index, end in self._ends.items()}
        workers = tuple(self._worker(index, code) for index, code in codes.items())
        alive = sum(code is None for code in codes.values())
        return RoundView(workers, min(alive, self._order.places), over=not alive)

    def _worker(self, index: int, code: int | None) -> WorkerView:
        return WorkerView(
            index=index,
            name="",
            host=socket.gethostname(),
            started_at=self._started.get(index),
            ended_at=self._ended.get(index),
            exit_code=code,
            outcome=outcome_of(code) if code is not None else None,
        )

    def stop(self) -> None:
        """End all workers, SIGTERM first. Queued ones never start and count as stopped. Repeating it is harmless."""
        with self._lock:
            self._stopped = True
        self._signal(signal.SIGTERM)
        if wait(self._ends.values(), GRACE_SECONDS).not_done:
            self._signal(signal.SIGKILL)
            wait(self._ends.values())

    def _work(self, index: int, uri: str) -> int:
        """Run one worker to its end; its exit code."""
        # -P: a folder named `tasks` where the user happens to stand is not ours.
        attempt = str(self._order.attempt)
        command = [sys.executable, "-P", "-m", "tasks.gpu", uri, "--attempt", attempt, "--parent-pipe"]
        log = self.log(index)
        try:
            return self._run(index, command, log)
        except OSError as error:
            raise WorkerError(f"cannot start a worker that prints to {log}: {error}") from error
        finally:
            self._ended[index] = datetime.now(UTC)

    def _run(self, index: int, command: list[str], log: Path) -> int:
        with TemporaryDirectory(prefix="samaflow-") as scratch, _device(self._environ) as device, log.open("ab") as out:
            environ = {**self._environ, **device, "TMPDIR": scratch}
            process = self._spawn(command, environ, out.fileno())
            if process is None:
                return -signal.SIGTERM
            self._started[index] = datetime.now(UTC)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                assert process.stdin is not None
                process.stdin.close()

    def _spawn(self, command: list[str], environ: dict[str, str], out: int) -> subprocess.Popen[bytes] | None:
        """Start a worker, unless the round was stopped while it waited for its place.

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
