"""What dead runs leave is found and mended, and what a live flow works on is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import sql
from edits import wire
from edits.errors import BusyError
from edits.job import JobState
from edits.storage import Store, read_status, status_path, workers_of
from sql import DispatchState, GoneFlow
from tasks.leftovers import Leftovers, Restart
from tests.fakes.cluster.clock import SimulatedClock
from tests.fakes.cluster.faults import FlowKilledError
from tests.fakes.cluster.flow import ScriptedFlow, cluster_of, video
from tests.fakes.cluster.world import World
from tests.fakes.command import wait_until
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "work")
    with made.cluster:
        yield made


def leftovers(world: World, restart: Restart | None = None) -> Leftovers:
    return Leftovers(world.db, world.store, cluster_of(world.cluster.server), restart)


def edit_until_killed(world: World, flow: ScriptedFlow, seconds: float) -> None:
    clock = world.clock
    assert isinstance(clock, SimulatedClock)

    def act() -> None:
        if world.elapsed > seconds:
            raise FlowKilledError

    clock.on_step.append(act)
    with pytest.raises(FlowKilledError):
        list(flow.edit([video(0, 4), video(1, 4)]))
    clock.on_step.remove(act)


def test_a_live_flow_leaves_nothing_over(world: World) -> None:
    with world.flow() as flow:
        edit_until_killed(world, flow, 20)
        assert leftovers(world).find(mend=True) == []
        assert world.cluster.controller.pods()


def test_the_flow_of_jobs_that_wait_is_started_again_and_its_pods_go_on(world: World) -> None:
    started: list[GoneFlow] = []
    with world.flow() as flow:
        edit_until_killed(world, flow, 20)
        sql.record_flow_run(flow.run.db, flow.run.owner, sql.FlowRunRecord("run-1", "f", "me", {}, "1", {}, "l"))
    (found,) = leftovers(world).find(mend=False)
    assert (found.kind, found.mended) == ("flow", False)
    assert "its pods go on" in found.detail

    def restart(item: GoneFlow) -> str:
        started.append(item)
        return "started"

    (found,) = leftovers(world, restart).find(mend=True)
    assert found.mended == bool(started)
    assert world.cluster.controller.pods()
    with world.flow() as flow:
        assert len(list(flow.edit([video(0, 4), video(1, 4)]))) == 2
    assert leftovers(world).find(mend=False) == []


def test_a_flow_that_prefect_keeps_is_left_to_prefect(world: World) -> None:
    with world.flow() as flow:
        edit_until_killed(world, flow, 20)

    def restart(item: GoneFlow) -> str:
        raise BusyError("Prefect says that it runs")

    (found,) = leftovers(world, restart).find(mend=True)
    assert (found.kind, found.mended) == ("flow", False)


def test_the_pods_of_jobs_that_have_ended_are_deleted_and_their_claim_ends(world: World) -> None:
    with world.flow() as flow:
        edit_until_killed(world, flow, 20)
    for number in range(2):
        sql.request_cancel(world.db, video(number, 4).job.job_id)
    assert {item.kind for item in leftovers(world).find(mend=False)} == {"job", "claim"}
    assert world.cluster.controller.pods()
    assert all(item.mended for item in leftovers(world).find(mend=True))
    world.rest()
    assert world.cluster.controller.pods() == []
    assert sql.unfinished_dispatches(world.db) == ()
    assert leftovers(world).find(mend=False) == []


def test_what_a_flow_leaves_that_dies_after_its_last_delivery_is_ended_and_paid(world: World) -> None:
    """The next flow of that manifest has nothing to do, so nobody but the cleaner comes by."""
    server = world.cluster.server

    def fall_silent() -> None:
        if len(world.cluster.controller.pods(running=True)) == 2:
            wait_until(lambda: flow.pods_seen_running() == 2, "the flow's watches to say that both pods run")
            server.trouble = lambda _: 503
            server.drop_watches()

    clock = world.clock
    assert isinstance(clock, SimulatedClock)
    with world.flow() as flow:
        clock.on_step.append(fall_silent)
        editing = flow.edit([video(0, 2)])
        next(editing)  # by its markers: that its pods have ended, the API server does not say
        with pytest.raises(FlowKilledError):
            editing.throw(FlowKilledError())
    clock.on_step.remove(fall_silent)
    server.trouble = lambda _: None
    world.rest()
    with world.flow() as flow:
        assert list(flow.edit([video(0, 2)])) == []
    assert {item.kind for item in leftovers(world).find(mend=True)} == {"claim", "worker"}
    assert sql.unfinished_dispatches(world.db) == ()
    assert world.recorded_seconds() == pytest.approx(world.script.gpu_seconds)
    assert leftovers(world).find(mend=False) == []


def test_a_claim_without_shards_ends(world: World) -> None:
    with world.flow() as flow:
        flow.split(video(0, 2))
        sql.claim(flow.run.db, sql.DispatchRecord("d1", "grade", "builtin", ""), video(0, 2).missing, flow.run.owner)
    (found,) = leftovers(world).find(mend=True)
    assert (found.kind, found.subject, found.mended) == ("claim", "d1", True)
    assert sql.dispatch(world.db, "d1").state is DispatchState.FAILED


def test_a_chunk_that_is_edited_and_not_recorded_is_recorded(world: World) -> None:
    with world.flow() as flow:
        edit_until_killed(world, flow, 45)
    world.clock.sleep(200)  # its pods finish without it
    found = {item.kind for item in leftovers(world).find(mend=True)}
    assert found == {"flow", "marker"}
    assert [item.kind for item in leftovers(world).find(mend=True)] == ["flow"]
    assert all(status.record.state is not JobState.DELIVERED for status in sql.job_table(world.db))


def test_a_worker_that_ended_after_its_dispatch_is_recorded(world: World) -> None:
    with world.flow() as flow:
        assert len(list(flow.edit([video(0, 2)]))) == 1
    before = world.recorded_seconds()
    (dispatch,) = sql.ended_dispatches(world.db, datetime.now(UTC) - timedelta(hours=1))
    index, attempt, worker = workers_of(world.store, dispatch)[0]
    told = read_status(world.store, dispatch, index, attempt, worker)
    assert told is not None
    late = replace(told, worker="late-one", gpu_seconds=7.5)
    world.store.put_bytes(status_path(dispatch, index, attempt, late.worker), wire.dump(late))
    (found,) = leftovers(world).find(mend=False)
    assert (found.kind, found.subject, found.mended) == ("worker", f"{dispatch}/{index}.{attempt}.late-one", False)
    assert "8 GPU-seconds are not recorded" in found.detail
    (found,) = leftovers(world).find(mend=True)
    assert found.mended
    assert world.recorded_seconds() == {**before, "late-one": 7.5}
    assert leftovers(world).find(mend=True) == []


def test_an_upload_that_was_cut_off_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with s3_server() as url:
        store = Store(f"s3://{BUCKET}/library", endpoint_url=url)
        store._backend.fs.call_s3("create_multipart_upload", Bucket=BUCKET, Key="library/chunks/a/output.mov")
        store._backend.fs.call_s3("create_multipart_upload", Bucket=BUCKET, Key="elsewhere/b")
        (upload,) = store.pending_uploads(timedelta(0))
        assert upload.path == "library/chunks/a/output.mov"
        assert store.pending_uploads(timedelta(days=36500)) == []  # the double dates every upload 2010
        store.abort_upload(upload)
        store.abort_upload(upload)
        assert store.pending_uploads(timedelta(0)) == []
