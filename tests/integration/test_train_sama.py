"""`samaflow train`: from a curriculum to registered weights, stopped with its flow, gone on with by the same call."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from sama_model.training import checkpoints
from sama_model.training.journal import Point, lines_from
from tests.fakes.command import Folder, wait_until

pytestmark = pytest.mark.model

MICRO = Path(__file__).parents[1] / "fakes" / "micro.toml"


LONG = (
    "steps = 3\nbatch = 2\nlearning_rate = 1e-3\ncheckpoint_every = 2\n\n[vae.sizes]",
    "steps = 5000\nbatch = 2\n\n[vae.sizes]",
)
"""A VAE that is trained for longer than any test waits, with no checkpoint of its own accord."""


def curriculum(folder: Folder, *changes: tuple[str, str]) -> None:
    """The micro model, with these changes."""
    text = MICRO.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder.path / "micro.toml").write_text(text)


def flow_run(folder: Folder) -> str:
    """The folder's newest one: the Prefect server has those of other tests too."""
    with closing(sqlite3.connect(folder.path / ".samaflow" / "samaflow.db")) as connection:
        (flow_run_id,) = connection.execute("SELECT flow_run_id FROM flow_run ORDER BY rowid DESC").fetchone()
    return str(flow_run_id)


def artifact(folder: Folder, url: str, key: str) -> str:
    """What the flow run's artifact of this key shows in the Prefect UI."""
    asked = {"artifacts": {"flow_run_id": {"any_": [flow_run(folder)]}, "key": {"any_": [key]}}}
    (found,) = httpx.post(f"{url}/artifacts/filter", json=asked).raise_for_status().json()
    return str(found["data"])


def test_a_curriculum_becomes_registered_weights_and_again_is_nothing_new(folder: Folder, prefect_url: str) -> None:
    curriculum(folder)
    made = folder.json("train", "micro.toml", "--folder", "runs/micro", "--samples", "1")
    assert (made["state"], made["reason"]) == ("built", "")
    assert [(row["split"], row["kind"], row["count"]) for row in made["evaluation"]][-1] == ("seen", "all", 1)
    assert Path(made["sheet"]).read_bytes().startswith(b"\x89PNG")
    assert "stage_zero" in Path(made["curves"]).read_text()
    assert (folder.path / "runs" / "micro" / "tensorboard" / "stage_one").is_dir()
    (listed,) = folder.ask("training")["runs"]
    assert (listed["state"], listed["weights"], listed["weights_digest"]) == ("built", "micro", made["weights_digest"])
    parts = folder.ask("training", made["run_id"])["parts"]
    assert [(part["part"], part["step"]) for part in parts] == [
        *(("vae", 3), ("image_encoder", 2), ("stage_zero", 3), ("stage_one", 3)),
    ]
    assert parts[3]["figures"].keys() == {"total", "flow", "semantic", "gradient"}
    table, page = (artifact(folder, prefect_url, key) for key in ("evaluation", "training"))
    assert [row["clips"] for row in json.loads(table)] == [1, 1]
    assert "| stage_one | 3 | 3 | 0 |" in page
    again = folder.json("train", "micro.toml", "--folder", "runs/micro", "--samples", "0")
    assert (again["weights_digest"], again["run_id"]) == (made["weights_digest"], made["run_id"])


def cancel(folder: Folder, url: str) -> None:
    """As the Prefect UI does it."""
    state = {"state": {"type": "CANCELLING"}, "force": True}
    httpx.post(f"{url}/flow_runs/{flow_run(folder)}/set_state", json=state).raise_for_status()


def process_with(*words: str) -> psutil.Process | None:
    """The one whose command line has them all."""
    for process in psutil.process_iter(["cmdline"]):
        if set(words) <= set(process.info["cmdline"] or []):
            return process
    return None


def trainer(folder: Folder) -> psutil.Process | None:
    """The process that trains in the folder."""
    return process_with("sama_model.training", str(folder.path / "run"))


def evaluator(folder: Folder) -> psutil.Process | None:
    """The process that evaluates what was trained there."""
    return process_with("evaluate", str(folder.path / "run" / "weights" / "micro"))


def points(folder: Folder) -> int:
    return sum(isinstance(line, Point) for line in lines_from(folder.path / "run")[0])


@pytest.mark.parametrize(
    ("number", "processes"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGKILL, 1), (signal.SIGKILL, 2)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_training_ends_with_its_flow_and_keeps_its_last_step(
    folder: Folder, number: signal.Signals, processes: int
) -> None:
    curriculum(folder, LONG)
    command = ("train", "micro.toml", "--folder", "run", "--samples", "0", "--processes", str(processes))
    with folder.start(*command) as flow:
        wait_until(lambda: points(folder) > 0, "the first point of a curve")
        child = trainer(folder)
        assert child is not None
        assert child.environ()["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // processes))
        os.kill(flow.pid, number)
        flow.communicate(timeout=90)
    assert flow.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    wait_until(lambda: not child.is_running(), "the training to end by itself")
    (checkpoint,) = checkpoints.whole(folder.path / "run" / "vae")
    assert int(checkpoint.name) >= 25
    (listed,) = folder.ask("training")["runs"]
    killed = number is signal.SIGKILL
    assert (listed["state"], listed["flow_gone"]) == (("training", True) if killed else ("paused", False))
    assert killed or folder.ask("training", listed["run_id"])["parts"][0]["step"] >= 25


def test_a_training_that_is_cancelled_in_prefect_pauses(folder: Folder, prefect_url: str) -> None:
    curriculum(folder, LONG)
    with folder.start("train", "micro.toml", "--folder", "run", "--samples", "0") as flow:
        wait_until(lambda: points(folder) > 0, "the first point of a curve")
        cancel(folder, prefect_url)
        flow.communicate(timeout=90)
    assert trainer(folder) is None
    (listed,) = folder.ask("training")["runs"]
    assert (listed["state"], listed["reason"]) == ("paused", "cancelled")


def test_an_evaluation_ends_with_its_flow_or_its_cancellation_and_the_weights_stay(
    folder: Folder, prefect_url: str
) -> None:
    curriculum(folder)
    call = ("train", "micro.toml", "--folder", "run", "--samples")
    made = folder.json(*call, "0")
    for killed in (True, False):
        with folder.start(*call, "10000") as flow:
            wait_until(lambda: evaluator(folder) is not None, "the evaluation")
            flow.kill() if killed else cancel(folder, prefect_url)
            flow.communicate(timeout=90)
        wait_until(lambda: evaluator(folder) is None, "the evaluation to end")
    (listed,) = folder.ask("training")["runs"]
    assert (listed["state"], listed["weights_digest"]) == ("built", made["weights_digest"])


def test_a_call_that_cannot_be_used_says_why(folder: Folder) -> None:
    error = folder.json("train", "nothing", "--samples", "0", code=2)["error"]
    assert (error["category"], error["message"][:37]) == ("weights", "there is no curriculum 'nothing'; the")
    error = folder.json("train", "/etc/other.toml", code=2)["error"]
    assert error["category"] == "trust"
