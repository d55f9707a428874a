"""Whatever goes wrong: every planned chunk has a marker or a job that says why not, nothing is left, seconds add up.

A few scripted seeds here; `make test-faults` runs them all (FAULT_SEEDS), and FAULT_WORKER_SEEDS with real workers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

import sql
from edits.job import JobState
from edits.storage import valid_marker
from tasks.kubernetes_api import Cluster
from tasks.leftovers import Leftovers
from tasks.split import Prepared
from tests.fakes.cluster.faults import KINDS, Havoc, mishaps, schedule
from tests.fakes.cluster.flow import cluster_of, real_video, video
from tests.fakes.cluster.pods import ProcessPods
from tests.fakes.cluster.world import World
from tests.fakes.s3 import BUCKET, ENVIRON, TroubledS3, s3_server
from tests.fakes.shards import edited, noise

pytestmark = pytest.mark.kubernetes

SEEDS = range(int(os.environ.get("FAULT_SEEDS", "6")))
WORKER_SEEDS = range(int(os.environ.get("FAULT_WORKER_SEEDS", "0")))


def assert_nothing_is_lost(world: World, videos: Sequence[Prepared]) -> None:
    db = world.db
    for prepared in videos:
        record = sql.job(db, prepared.job.job_id)
        unmarked = [key for key in prepared.missing if valid_marker(world.store, key) is None]
        if record.state is JobState.DELIVERED:
            assert unmarked == []
        else:
            assert record.state is JobState.FAILED
            assert record.failure_message
    assert sql.unfinished_dispatches(db) == ()
    assert world.cluster.controller.pods() == []
    for job in world.cluster.jobs():
        assert job["status"].get("conditions"), f"{job['metadata']['name']} was left running"


def clean(world: World, cluster: Cluster | None) -> None:
    """As the scheduled cleaner: a flow that dies after its last delivery leaves a dispatch that no other flow meets."""
    Leftovers(world.db, world.store, cluster).find(mend=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_scripted_pods_through_a_schedule_of_faults(seed: int, tmp_path: Path) -> None:
    world = World(tmp_path, seed=seed)
    world.script.mishap = mishaps(seed)
    videos = [video(number, 2 + (seed + number) % 5) for number in range(3)]
    with world.cluster:
        havoc = Havoc(world.cluster, schedule(seed, 150.0))
        lives = world.endure(videos, havoc)
        world.rest()
        print(f"seed {seed}: {lives} lives, {world.elapsed:.0f} s, {[fault.kind for fault in havoc.done]}")  # noqa: T201
        havoc.calm()
        clean(world, cluster_of(world.cluster.server))
        assert_nothing_is_lost(world, videos)
    assert paid(world.recorded_seconds()) == pytest.approx(paid(world.script.gpu_seconds))


@pytest.mark.parametrize("seed", WORKER_SEEDS)
def test_real_workers_on_s3_through_a_schedule_of_faults(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    kinds = tuple(kind for kind in KINDS if kind not in ("image", "full"))
    with s3_server() as url, TroubledS3(url) as s3:
        pods = ProcessPods(tmp_path / "pods", {**ENVIRON, "AWS_ENDPOINT_URL": s3.url})
        store, endpoint = f"s3://{BUCKET}/seed-{seed}", s3.url
        world = World(tmp_path / "work", lambda clock: pods, seed, store=store, endpoint_url=endpoint)
        world.cluster.controller.backoff_seconds = 0.3
        videos = [real_video(world.store, tmp_path, number, 3) for number in range(2)]
        with world.cluster:
            havoc = Havoc(world.cluster, schedule(seed, 12.0, kinds=kinds))
            s3.faults.extend(troubles(seed))
            lives = world.endure(videos, havoc)
            world.rest()
            print(f"seed {seed}: {lives} lives, {world.elapsed:.0f} s, {[fault.kind for fault in havoc.done]}")  # noqa: T201
            havoc.calm()
            clean(world, cluster_of(world.cluster.server))
            assert_nothing_is_lost(world, videos)
        pods.close()
        clean(world, None)  # a duplicate may have ended since
        for number, prepared in enumerate(videos):
            for position, chunk in enumerate(prepared.plan.chunks):
                if valid_marker(world.store, chunk.chunk_key) is not None:
                    expected = 255 - noise(100 * number + position)
                    np.testing.assert_array_equal(edited(world.store, chunk, tmp_path), expected)
        assert paid(world.recorded_seconds()) == pytest.approx(paid(statuses_of(world)))


def troubles(seed: int) -> list[str]:
    """What the store does to the first requests: mostly nothing."""
    draw = np.random.default_rng(seed)
    kinds = ["", "", "", "", "", "slow_down", "reset", "bad_gateway", "half", "slow"]
    return [str(kind) for kind in draw.choice(kinds, size=int(draw.integers(0, 120)))]


def paid(seconds: Mapping[str, float]) -> dict[str, float]:
    """Without workers that were killed before they had said or done anything: they are recorded, and cost nothing."""
    return {name: each for name, each in seconds.items() if each}


def statuses_of(world: World) -> dict[str, float]:
    """GPU-seconds of each worker as its last words say, by name."""
    from edits import wire
    from edits.job import WorkerStatus

    found = {}
    for path in world.store.list("dispatches"):
        if path.endswith(".status.json"):
            status = wire.load(WorkerStatus, world.store.read(path), path)
            found[status.worker] = status.gpu_seconds
    return found
