"""Submitting to a running server, pausing what is not dispatched yet, and stopping at a limit of GPU-hours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sql
from edits.job import JobState
from flows.cli import app
from flows.command import settings_here
from flows.serve import Service, alone
from tasks.gpu_hours import GpuHours
from tests.fakes.cluster.clock import SimulatedClock
from tests.fakes.cluster.flow import video
from tests.fakes.cluster.world import World
from tests.fakes.command import Folder

REGISTER = "from flows.edit_manifest import edit_manifest; edit_manifest.to_deployment('edit-manifest').apply()"


def test_submit_hands_the_manifest_over_and_returns(folder: Folder) -> None:
    folder.manifest({"source": "clip.mp4", "instruction": "turn it sepia", "editor": "grade"})
    unknown = folder.run("submit", "manifest.csv")
    assert (unknown.returncode, "no deployment 'edit-manifest/edit-manifest'" in unknown.stderr) == (2, True)
    subprocess.run([sys.executable, "-c", REGISTER], cwd=folder.path, env=folder.environ, check=True, timeout=120)
    asked = ("--preview", "few_steps", "--allow", "rushes", "--store", "kept", "--workers", "1", "--max-gpu-hours", "2")
    made = folder.json("submit", "manifest.csv", *asked)
    assert made["flow_run_id"] in made["url"]
    with urllib.request.urlopen(f"{folder.environ['PREFECT_API_URL']}/flow_runs/{made['flow_run_id']}") as answer:
        parameters = json.load(answer)["parameters"]
    assert (parameters["preview"], parameters["workers"], parameters["max_gpu_hours"]) == ("few_steps", 1, 2.0)
    assert parameters["allow"] == [str(folder.path / "rushes")]
    assert Path(parameters["store"].removeprefix("file://")) == folder.path / "kept"
    assert folder.markers() == set()


def test_submit_without_a_server_and_with_an_unusable_manifest_says_so(folder: Folder) -> None:
    (folder.path / "manifest.csv").write_text("colour\nblue\n", encoding="utf-8")
    assert "colour" in folder.run("submit", "manifest.csv").stderr
    del folder.environ["PREFECT_API_URL"]
    refused = folder.run("submit", "manifest.csv")
    assert (refused.returncode, "PREFECT_API_URL" in refused.stderr) == (2, True)


def test_the_server_of_a_service_that_runs_here_is_taken(folder: Folder) -> None:
    folder.manifest({"source": "clip.mp4", "instruction": "turn it sepia", "editor": "grade"})
    note = folder.path / ".samaflow" / "serve" / "api_url"
    note.parent.mkdir(parents=True)
    note.write_text(folder.environ.pop("PREFECT_API_URL") + "\n", encoding="utf-8")
    unknown = folder.run("submit", "manifest.csv", "--deployment", "edit-manifest/nobody's")
    assert (unknown.returncode, "no deployment 'edit-manifest/nobody's'" in unknown.stderr) == (2, True)
    note.write_text("http://127.0.0.1:9/api\n", encoding="utf-8")
    assert "no Prefect server runs here" in folder.run("submit", "manifest.csv").stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("notify", "nonsense"), "WEBHOOK: 'nonsense' is no web address"),
        (("serve", "--port", "4300", "--pages-port", "4300"), "--pages-port: 4300 is the Prefect server's --port"),
        (("serve", "--host", "300.1.1.1"), "--host 300.1.1.1: is no address of this machine"),
        (("serve", "--prefect-database", "nonsense://u:secret@x"), "nonsense://u:***@x: Prefect cannot use it. Write"),
    ],
)
def test_an_address_that_cannot_be_is_named(command: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_a_second_service_in_one_folder_names_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = Service(port=4300, pages_port=4301)
    with alone(settings_here(), first):
        second = CliRunner().invoke(app, ("serve", "--port", "4302", "--pages-port", "4303"))
    assert second.exit_code == 2
    assert f"runs in this folder already: process {os.getpid()}, http://127.0.0.1:4300." in second.stderr
    with alone(settings_here(), first):
        pass


def test_links_of_a_service_that_listens_everywhere_name_an_address_of_this_machine() -> None:
    address = Service(host="0.0.0.0").address
    assert address != "0.0.0.0"
    with socket.socket() as probe:
        probe.bind((address, 0))


# -- pausing and limits, with scripted pods ---------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "work", kubernetes_parallelism=1)
    with made.cluster:
        yield made


def at(world: World, seconds: float, act: object) -> None:
    clock = world.clock
    assert isinstance(clock, SimulatedClock)
    pending = [act]

    def look() -> None:
        if pending and world.elapsed > seconds:
            pending.pop()()  # type: ignore[operator]

    clock.on_step.append(look)


@pytest.mark.kubernetes
def test_nothing_more_of_a_paused_job_is_dispatched_until_it_is_resumed(world: World) -> None:
    paused = video(1, 3)
    with world.flow() as flow:
        flow.split(paused)
        sql.pause_job(flow.run.db, paused.job.job_id, True)
        at(world, 120, lambda: sql.pause_job(flow.run.db, paused.job.job_id, False))
        edited_before: list[int] = []
        at(world, 118, lambda: edited_before.append(len(set(paused.missing) & set(world.script.edits))))
        done = list(flow.edit([video(0, 3), paused]))
    assert done[-1] == paused.job.job_id
    assert edited_before == [0]
    reasons = [event.reason for event in sql.job_events(world.db, paused.job.job_id)]
    assert "paused" in reasons
    assert "resumed" in reasons


@pytest.mark.kubernetes
def test_at_the_limit_nothing_more_is_dispatched_and_what_is_left_is_said(world: World) -> None:
    world.script.chunk_seconds = 60
    with world.flow() as flow:
        flow.run.gpu_hours = GpuHours(0.05)
        done = list(flow.edit([video(0, 2), video(1, 20)]))
        record = sql.job(flow.run.db, video(1, 20).job.job_id)
    assert done == [video(0, 2).job.job_id]
    assert (record.state, record.failure_category) == (JobState.FAILED, "budget")
    assert "of its chunks are not edited" in record.failure_message
    assert "--max-gpu-hours" in record.failure_message
    assert len(world.script.edits) < 22
    assert sql.unfinished_dispatches(world.db) == ()


@pytest.mark.parametrize(("spent", "under_way", "room"), [(0, 0, 7), (1800, 0, 3), (1800, 3, 0), (9999, 0, 0)])
def test_room_is_what_is_neither_spent_nor_under_way(spent: float, under_way: int, room: int) -> None:
    limit = GpuHours(1.0, {("d", 0, "", 1): spent})
    assert limit.room(under_way, 500.0, 100) == room
    assert GpuHours(None).room(under_way, 500.0, 100) == 100
