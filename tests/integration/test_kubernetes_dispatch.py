"""Dispatching to a cluster, with scripted pods on a simulated clock, over real HTTP."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import sql
from edits.errors import StoreError
from edits.job import JobState
from sql.models import Attempt
from tests.fakes.cluster.clock import SimulatedClock
from tests.fakes.cluster.controller import IMAGE
from tests.fakes.cluster.flow import ScriptedFlow, video
from tests.fakes.cluster.world import World

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "work")
    with made.cluster:
        yield made


def test_videos_are_edited_by_indexed_jobs_and_nothing_is_left(world: World) -> None:
    with world.flow() as flow:
        done = list(flow.edit([video(number, 5) for number in range(4)]))
        assert sorted(done) == [video(number, 5).job.job_id for number in range(4)]
        counts = sql.counts(flow.run.db)
        assert counts[JobState.DELIVERED] == 4
        stuck = sql.adoptable(flow.run.db, video(0, 5).missing)
        with flow.run.db.read() as session:
            images = set(session.scalars(sa.select(Attempt.image)))
    assert stuck == []
    assert images == {IMAGE}
    assert len(world.script.edits) == len(set(world.script.edits)) == 20


def drain(flow: ScriptedFlow, videos: int, chunks: int = 4) -> list[str]:
    return list(flow.edit([video(number, chunks) for number in range(videos)]))


class StoppedError(BaseException):
    """As SIGTERM in a flow: nobody catches it."""


def run_until(flow: ScriptedFlow, seconds: float, videos: int, chunks: int = 4) -> None:
    """A flow that is killed after so many simulated seconds."""
    begun = flow.clock.now()

    def act() -> None:
        if flow.clock.now() - begun > seconds:
            raise StoppedError

    assert isinstance(flow.clock, SimulatedClock)
    flow.clock.on_step.append(act)
    with pytest.raises(StoppedError):
        drain(flow, videos, chunks)
    flow.clock.on_step.remove(act)


def test_a_flow_that_is_killed_leaves_its_jobs_and_the_next_one_adopts_them(world: World) -> None:
    with world.flow() as flow:
        run_until(flow, 30, 3)
    names = world.cluster.job_names()
    assert names
    assert world.cluster.controller.pods()
    world.clock.sleep(20)
    with world.flow() as flow:
        assert len(drain(flow, 3)) == 3
    assert set(names) <= set(world.cluster.job_names())
    assert len(world.script.edits) == len(set(world.script.edits)) == 12


def test_cancelling_one_of_the_jobs_that_share_a_dispatch_withdraws_its_chunks_alone(world: World) -> None:
    world.script.load_seconds = 40
    cancelled = video(1, 4).job.job_id
    with world.flow() as flow:
        flow.clock.on_step.append(lambda: _cancel_at(flow, 20, cancelled))
        assert cancelled not in drain(flow, 3)
        assert sql.job(flow.run.db, cancelled).state is JobState.CANCELLED
        assert sql.counts(flow.run.db)[JobState.DELIVERED] == 2
    assert not set(video(1, 4).missing) & set(world.script.edits)


def _cancel_at(flow: ScriptedFlow, seconds: float, job_id: str) -> None:
    if 1_800_000_000 + seconds < flow.clock.now() < 1_800_000_000 + seconds + 1.5:
        sql.request_cancel(flow.run.db, job_id)


def test_cancelling_everything_leaves_no_pod_within_a_minute(world: World) -> None:
    jobs = [video(number, 4).job.job_id for number in range(2)]
    with world.flow() as flow:
        for job_id in jobs:
            flow.clock.on_step.append(lambda job_id=job_id: _cancel_at(flow, 25, job_id))
        assert drain(flow, 2) == []
        assert flow.clock.now() < 1_800_000_000 + 25 + 60
        assert world.cluster.controller.pods() == []
        assert sql.claims_on(flow.run.db, [key for n in range(2) for key in video(n, 4).missing])[0] == set()


def test_a_store_that_is_away_for_minutes_and_a_damaged_status_lose_nothing(world: World) -> None:
    with world.flow() as flow:
        store = flow.run.store.with_pauses(())
        flow.run.store = store
        attempt = store._attempt

        def away(*arguments: object, **options: object) -> object:
            if 25 < world.elapsed < 200:
                raise StoreError("away")
            return attempt(*arguments, **options)  # type: ignore[arg-type]

        store._attempt = away  # type: ignore[method-assign, assignment]
        flow.clock.on_step.append(lambda: _damage(world, 15))
        assert len(drain(flow, 2)) == 2
    assert sql.unfinished_dispatches(world.db) == ()


def test_chunks_of_pods_that_were_never_seen_running_count_while_the_cluster_is_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.kubernetes.SILENCE_SECONDS", 0.0)
    world.cluster.controller.start_seconds = 30

    def fall_silent() -> None:
        if 15 < world.elapsed < 16.5:
            world.cluster.server.trouble = lambda address: 503
            world.cluster.server.drop_watches()
        assert world.elapsed < 900, "the flow waits for a cluster that says nothing"

    world.clock.on_step.append(fall_silent)  # type: ignore[union-attr]
    with world.flow() as flow:
        assert len(drain(flow, 2)) == 2
        assert flow.pods_seen_running() == 0
    assert len(world.script.edits) == 8


def _damage(world: World, seconds: float) -> None:
    if seconds < world.elapsed < seconds + 1.5:
        for path in world.store.list("dispatches"):
            if path.endswith(".status.json"):
                world.store.put_bytes(path, b"{")


def test_chunks_that_take_far_longer_than_was_thought_are_still_spread_over_all_places(tmp_path: Path) -> None:
    world = World(tmp_path / "work", kubernetes_parallelism=4)
    world.script.chunk_seconds = 100
    with world.cluster, world.flow() as flow:
        assert len(drain(flow, 6, 4)) == 6
    alone = 24 * world.script.chunk_seconds
    assert world.elapsed < alone / 2


@pytest.mark.parametrize("seconds", [40.0, 280.0])
def test_a_chunk_costs_a_bounded_number_of_readings_however_long_it_takes(tmp_path: Path, seconds: float) -> None:
    world = World(tmp_path / "work", kubernetes_parallelism=4)
    world.script.chunk_seconds = seconds
    with world.cluster, world.flow() as flow:
        asked = count_requests(flow)
        assert len(drain(flow, 2, 6)) == 2
    assert asked["status"] <= 24 * 12


def count_requests(flow: ScriptedFlow, counts: Callable[[], bool] = lambda: True) -> Counter[str]:
    """Requests to the store while it `counts`: to statuses, and to all the rest."""
    store, count = flow.run.store, Counter[str]()
    attempt = store._attempt

    def counted(verb: str, path: str, *arguments: Any, **options: Any) -> Any:
        count["status" if path.endswith(".status.json") else "other"] += counts()
        return attempt(verb, path, *arguments, **options)

    store._attempt = counted  # type: ignore[method-assign, assignment]
    return count


def test_videos_that_wait_for_a_place_cost_nothing_while_they_wait(tmp_path: Path) -> None:
    few, many = (asked_while_waiting(tmp_path / str(videos), videos) for videos in (3, 12))
    assert few == many


def asked_while_waiting(folder: Path, videos: int) -> Counter[str]:
    """What a flow asks its database and its store in two minutes in which its only pod edits one chunk."""
    world = World(folder, kubernetes_parallelism=1)
    world.script.chunk_seconds = 1000

    def counts() -> bool:
        return 100 <= world.elapsed < 220

    with world.cluster, world.flow() as flow:
        count = count_requests(flow, counts)

        def asked(*said: Any) -> None:
            statement, parameters = said[2:4]
            count[statement.split()[0]] += counts()
            count["values"] += len(parameters) * counts()

        sa.event.listen(flow.run.db.engine, "before_cursor_execute", asked)
        run_until(flow, 220, videos)
    return count


def test_nothing_is_kept_of_a_job_that_is_over_though_the_cluster_speaks_of_it_again(tmp_path: Path) -> None:
    world = World(tmp_path / "work", kubernetes_ttl_hours=0.1)
    with world.cluster, world.flow() as flow:
        drain(flow, 2)
        mirror = flow.executor._mirror
        world.clock.sleep(400)
        assert world.cluster.job_names() == []
        for plural in ("jobs", "pods"):
            world.cluster.objects.create((plural, "samaflow"), last(plural))
        wait_for(lambda: mirror.jobs.jobs() == {"last"} and mirror.pods.jobs() == {"last"})


def last(plural: str) -> dict[str, Any]:
    """Something of ours that comes after all the rest."""
    labels = {"app.kubernetes.io/name": "samaflow-worker", "batch.kubernetes.io/job-name": "last"}
    spec = {"completions": 0, "parallelism": 0, "template": {"metadata": {}, "spec": {}}, "nodeName": "a"}
    return {"metadata": {"name": "last", "labels": labels}, "spec": spec, "status": {"phase": "Succeeded"}}


def wait_for(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
