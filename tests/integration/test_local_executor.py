"""Worker processes of this machine: how many at once, what they see, and that none outlives the flow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from edits import wire
from edits.job import Sampling, Shard, ShardChunk
from edits.storage import Store, read_statuses, shard_path
from tasks.executor import RoundOrder
from tasks.local import LocalExecutor, LocalRound
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


@contextmanager
def begun(
    store: Store, folder: Path, workers: int, indexes: range, attempt: int = 0, **kept: Any
) -> Iterator[LocalRound]:
    """A round on an executor of its own, ended with the test."""
    executor = LocalExecutor(store.uri(), workers, folder / "logs", **kept)
    current = executor.begin(RoundOrder(DISPATCH, "", attempt + 1, tuple(indexes), workers))
    try:
        yield current
    finally:
        current.stop()
        executor.close()


def codes(current: LocalRound) -> dict[int, int | None]:
    return {worker.index: worker.exit_code for worker in current.poll().workers}


def ended(current: LocalRound) -> dict[int, int | None]:
    """Exit codes, once all workers have ended."""
    deadline = time.monotonic() + 120
    while not current.poll().over:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return codes(current)


def wait_for_line(log: Path, event: str) -> None:
    deadline = time.monotonic() + 120
    while not (log.exists() and f'"{event}"' in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_shard_gets_a_worker_and_a_log(store: Store, tmp_path: Path) -> None:
    shards = put_shards(store, tmp_path, 3)
    with begun(store, tmp_path, 2, range(len(shards)), attempt=4) as current:
        assert codes(current).keys() == {0, 1, 2}
        assert ended(current) == {0: 0, 1: 0, 2: 0}
        lines = [json.loads(line) for line in current.log(1).read_text().splitlines()]
    assert lines[-1]["event"] == "finished"
    statuses = read_statuses(store, DISPATCH, range(3), 4)
    assert [status.exit_code for status in statuses.values()] == [0, 0, 0]


def test_there_are_never_more_workers_than_places(store: Store, tmp_path: Path) -> None:
    put_shards(store, tmp_path, 4)
    seen = 0
    with begun(store, tmp_path, 1, range(4)) as current:
        while not current.poll().over:
            seen = max(seen, len(workers()))
            time.sleep(0.005)
    assert seen == 1


def test_an_exit_code_comes_back(store: Store, tmp_path: Path) -> None:
    put_shard(store, [put_chunk(store, tmp_path, 0, instruction="make it purple")])
    with begun(store, tmp_path, 1, range(2)) as current:
        assert ended(current) == {0: 64, 1: 64}


def test_stopping_ends_running_workers_and_starts_no_queued_ones(store: Store, tmp_path: Path) -> None:
    put_slow_shard(store, tmp_path)
    with begun(store, tmp_path, 1, range(2)) as current:
        wait_for_line(current.log(0), "chunk_started")
        current.stop()
        current.stop()
        assert codes(current) == {0: 143, 1: -signal.SIGTERM}
        assert current.log(1).read_bytes() == b""
    assert workers() == []


def test_closing_ends_the_rounds_that_nobody_came_to_stop(store: Store, tmp_path: Path) -> None:
    put_slow_shard(store, tmp_path)
    executor = LocalExecutor(store.uri(), 1, tmp_path / "logs")
    current = executor.begin(RoundOrder(DISPATCH, "", 1, (0, 1), 1))
    wait_for_line(current.log(0), "chunk_started")
    executor.close()
    assert codes(current) == {0: 143, 1: -signal.SIGTERM}
    assert workers() == []


FLOW = """
import sys, time
from pathlib import Path
from tasks.executor import RoundOrder
from tasks.local import LocalExecutor
executor = LocalExecutor(sys.argv[1], 1, Path(sys.argv[2]))
executor.begin(RoundOrder("d1", "", 1, (0,), 1))
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
    secret = {**os.environ, "SECRET": "s", "SAMAFLOW_DATABASE": "postgresql://u:p@h/d", "SAMAFLOW_CURRENCY": "EUR"}
    with begun(store, tmp_path, 1, range(1), endpoint_url="http://127.0.0.1:9", environ=secret) as current:
        wait_for_line(current.log(0), "chunk_started")
        (worker,) = workers()
        environ = worker.environ()
    assert {"SECRET", "SAMAFLOW_DATABASE"}.isdisjoint(environ)
    assert environ["SAMAFLOW_CURRENCY"] == "EUR"
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert int(environ["OMP_NUM_THREADS"]) == len(os.sched_getaffinity(0))
    assert not Path(environ["TMPDIR"]).exists()
