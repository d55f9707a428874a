"""Worker processes of this machine: how many at once, what they see, and that none outlives the flow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from edits import wire
from edits.job import Sampling, Shard, ShardChunk
from edits.storage import Store, read_statuses, shard_path
from tasks.local import LocalExecutor
from tests.fakes.shards import DISPATCH, noise, put_chunk, put_shard


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def put_shards(store: Store, folder: Path, count: int) -> list[Shard]:
    """So many shards of one chunk each."""
    first = put_shard(store, [])
    shards = []
    for index in range(count):
        groups = ((put_chunk(store, folder, index),),)
        shard = Shard(**{**first.__dict__, "index": index, "groups": groups})
        store.put_bytes(shard_path(DISPATCH, index), wire.dump(shard))
        shards.append(shard)
    return shards


def put_slow_shard(store: Store, folder: Path) -> None:
    sampling = Sampling(steps=100_000, guidance=1.0, shift=3.0)
    chunk: ShardChunk = put_chunk(store, folder, 0, noise(0, 5, 32, 32), "a robot", sampling)
    put_shard(store, [chunk], "sama")


def workers() -> list[psutil.Process]:
    """Children of this process that are workers; other tests may keep a server."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if "tasks.gpu" in child.cmdline() else []
    return found


def ended(executor: LocalExecutor) -> dict[int, int | None]:
    """Exit codes, once all workers have ended."""
    deadline = time.monotonic() + 120
    while None in (codes := executor.poll()).values():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return codes


def wait_for_line(log: Path, event: str) -> None:
    deadline = time.monotonic() + 120
    while not (log.exists() and f'"{event}"' in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_shard_gets_a_worker_and_a_log(store: Store, tmp_path: Path) -> None:
    shards = put_shards(store, tmp_path, 3)
    with LocalExecutor(store.uri(), 2, tmp_path / "logs") as executor:
        executor.start(DISPATCH, [shard.index for shard in shards], 4)
        assert executor.poll().keys() == {0, 1, 2}
        assert ended(executor) == {0: 0, 1: 0, 2: 0}
        lines = [json.loads(line) for line in executor.log(DISPATCH, 1, 4).read_text().splitlines()]
    assert lines[-1]["event"] == "finished"
    statuses = read_statuses(store, DISPATCH, range(3), 4)
    assert [status.exit_code for status in statuses.values()] == [0, 0, 0]


def test_there_are_never_more_workers_than_places(store: Store, tmp_path: Path) -> None:
    put_shards(store, tmp_path, 4)
    seen = 0
    with LocalExecutor(store.uri(), 1, tmp_path / "logs") as executor:
        executor.start(DISPATCH, range(4), 0)
        while None in executor.poll().values():
            seen = max(seen, len(workers()))
            time.sleep(0.005)
    assert seen == 1


def test_an_exit_code_comes_back(store: Store, tmp_path: Path) -> None:
    put_shard(store, [put_chunk(store, tmp_path, 0, instruction="make it purple")])
    with LocalExecutor(store.uri(), 1, tmp_path / "logs") as executor:
        executor.start(DISPATCH, [0, 1], 0)
        assert ended(executor) == {0: 64, 1: 64}
        with pytest.raises(ValueError, match="one round"):
            executor.start(DISPATCH, [0], 1)


def test_stopping_ends_running_workers_and_starts_no_queued_ones(store: Store, tmp_path: Path) -> None:
    put_slow_shard(store, tmp_path)
    executor = LocalExecutor(store.uri(), 1, tmp_path / "logs")
    executor.start(DISPATCH, [0, 1], 0)
    wait_for_line(executor.log(DISPATCH, 0, 0), "chunk_started")
    executor.stop()
    executor.stop()
    assert executor.poll() == {0: 143, 1: -signal.SIGTERM}
    assert executor.log(DISPATCH, 1, 0).read_bytes() == b""
    assert workers() == []


FLOW = """
import sys, time
from pathlib import Path
from tasks.local import LocalExecutor
executor = LocalExecutor(sys.argv[1], 1, Path(sys.argv[2]))
executor.start("d1", [0], 0)
time.sleep(600)
"""


def test_a_worker_dies_with_a_flow_that_is_killed(store: Store, tmp_path: Path) -> None:
    put_slow_shard(store, tmp_path)
    flow = subprocess.Popen([sys.executable, "-c", FLOW, store.uri(), str(tmp_path / "logs")])
    try:
        wait_for_line(tmp_path / "logs" / f"{DISPATCH}-0.0.log", "chunk_started")
        (worker,) = psutil.Process(flow.pid).children()
    finally:
        flow.kill()
        flow.wait()
    worker.wait(timeout=10)
    assert read_statuses(store, DISPATCH, [0], 0)[0].state == "stopped"


def test_the_worker_sees_little_of_the_environment(store: Store, tmp_path: Path) -> None:
    put_slow_shard(store, tmp_path)
    secret = {**os.environ, "SECRET": "s", "SAMAFLOW_DATABASE": "postgresql://u:p@h/d", "SAMAFLOW_X": "1"}
    with LocalExecutor(store.uri(), 1, tmp_path / "logs", "http://127.0.0.1:9", secret) as executor:
        executor.start(DISPATCH, [0], 0)
        wait_for_line(executor.log(DISPATCH, 0, 0), "chunk_started")
        (worker,) = workers()
        environ = worker.environ()
    assert {"SECRET", "SAMAFLOW_DATABASE"}.isdisjoint(environ)
    assert environ["SAMAFLOW_X"] == "1"
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert int(environ["OMP_NUM_THREADS"]) == len(os.sched_getaffinity(0))
    assert not Path(environ["TMPDIR"]).exists()
