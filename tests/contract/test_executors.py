"""What both kinds of executor promise, with real workers: processes of this machine, and pods that run the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edits import wire
from edits.job import Sampling, ShardChunk, WorkerStatus
from edits.storage import Store, read_status, shard_path, valid_marker, workers_of
from tasks.executor import Executor, Round, RoundOrder, RoundView
from tasks.kubernetes import KubernetesExecutor
from tasks.kubernetes_job import load_template
from tasks.local import LocalExecutor
from tests.fakes.cluster.clock import RealClock
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.cluster.flow import cluster_of, settings_of
from tests.fakes.cluster.pods import ProcessPods
from tests.fakes.shards import DISPATCH, noise, put_chunk, put_shard

PLACES = 2


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(params=["local", pytest.param("kubernetes", marks=pytest.mark.kubernetes)])
def executor(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> Iterator[Executor]:
    if request.param == "local":
        local = LocalExecutor(store.uri(), PLACES, tmp_path / "logs")
        yield local
        local.close()
        return
    pods = ProcessPods(tmp_path / "pods")
    with FakeCluster(RealClock(), lambda clock: pods) as cluster:
        settings = settings_of(tmp_path, store=store.uri(), kubernetes_parallelism=PLACES)
        made = KubernetesExecutor(cluster_of(cluster.server), load_template(settings))
        yield made
        made.close()
        pods.close()


def order(*indexes: int, number: int = 1) -> RoundOrder:
    return RoundOrder(DISPATCH, "d" * 64, number, indexes, PLACES)


def put_shards(store: Store, folder: Path, *chunks: ShardChunk, editor: str = "grade") -> None:
    """A shard for each chunk."""
    first = put_shard(store, [], editor)
    for index, chunk in enumerate(chunks):
        store.put_bytes(shard_path(DISPATCH, index), wire.dump(replace(first, index=index, groups=((chunk,),))))


def end(current: Round) -> RoundView:
    deadline = time.monotonic() + 120
    while not (view := current.poll()).over:
        assert time.monotonic() < deadline
        assert view.places <= PLACES
        time.sleep(0.02)
    return view


def test_each_shard_gets_a_worker_that_is_seen_to_its_end(executor: Executor, store: Store, tmp_path: Path) -> None:
    good = [put_chunk(store, tmp_path, number) for number in range(2)]
    put_shards(store, tmp_path, *good, put_chunk(store, tmp_path, 2, instruction="make it purple"))
    view = end(executor.begin(order(0, 1, 2)))
    assert [(worker.index, worker.exit_code) for worker in view.workers] == [(0, 0), (1, 0), (2, 64)]
    assert [worker.outcome.category for worker in view.workers if worker.outcome] == ["done", "done", "failed"]
    assert all(worker.host and worker.started_at and worker.ended_at for worker in view.workers)
    assert [valid_marker(store, chunk.chunk_key) is not None for chunk in good] == [True, True]
    told = [read_status(store, DISPATCH, worker.index, 0, worker.name) for worker in view.workers]
    assert [status.exit_code for status in told if status] == [0, 0, 64]
    assert workers_of(store, DISPATCH) == [(worker.index, 0, worker.name) for worker in view.workers]


def test_a_later_round_has_workers_for_the_shards_that_it_names_alone(
    executor: Executor, store: Store, tmp_path: Path
) -> None:
    put_shards(store, tmp_path, *(put_chunk(store, tmp_path, number) for number in range(3)))
    view = end(executor.begin(order(2, number=3)))
    assert [(worker.index, worker.exit_code) for worker in view.workers] == [(2, 0)]
    assert workers_of(store, DISPATCH) == [(2, 2, view.workers[0].name)]


def test_stopping_ends_running_workers_and_starts_no_others(executor: Executor, store: Store, tmp_path: Path) -> None:
    slow = Sampling(steps=100_000, guidance=1.0, shift=3.0)
    chunk = put_chunk(store, tmp_path, 0, noise(0, 5, 32, 32), "a robot", slow)
    put_shards(store, tmp_path, chunk, chunk, chunk, editor="sama")
    current = executor.begin(order(0, 1, 2))
    deadline = time.monotonic() + 120
    while not any(status.state == "editing" for status in statuses(store, current)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    current.stop()
    current.stop()
    view = end(current)
    started = [worker for worker in view.workers if worker.started_at is not None]
    assert 1 <= len(started) <= PLACES
    assert {worker.outcome.counts for worker in view.workers if worker.outcome} == {False}
    assert valid_marker(store, chunk.chunk_key) is None


def statuses(store: Store, current: Round) -> list[WorkerStatus]:
    seen = [read_status(store, DISPATCH, worker.index, 0, worker.name) for worker in current.poll().workers]
    return [status for status in seen if status is not None]
