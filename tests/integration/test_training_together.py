"""Two processes that train as one: the steps are those of one process, and one of the two writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sama_model.training import vae
from sama_model.training.batches import pixels
from sama_model.training.data import WHOLE, Share
from sama_model.training.driver import build
from sama_model.training.journal import Point, lines_from
from sama_model.training.loop import Progress
from sama_model.training.stage_one import StageOne
from sama_model.training.stopping import PAUSED, UNUSABLE
from sama_model.training.trainer import train
from sama_model.weights import new_vae
from tests.fakes.training import Crops, networks, settings
from tests.integration.test_training_driver import FILE, MICRO, REPOSITORY

pytestmark = pytest.mark.model


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A module as a program."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_two_take_the_steps_of_one_and_one_goes_on_where_two_were(tmp_path: Path) -> None:
    """Three examples a step: one process has two of them, the other one."""
    told: list[Progress] = []
    train(networks(), Crops(StageOne(seed=1)), settings(5, 3), tmp_path / "one", told.append)
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m")
    done = called(*torchrun, "tests.fakes.training", tmp_path / "two", 4, 3)
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    assert [int(step) for step, _ in said] == [0, 1, 2, 3]
    assert [float(flow) for _, flow in said] == pytest.approx([step.figure("flow") for step in told[:4]], rel=1e-5)
    assert not (tmp_path / "two" / "00000004" / "random_states_1.pkl").exists()
    rest: list[Progress] = []
    train(networks(), Crops(StageOne(seed=1)), settings(5, 3), tmp_path / "two", rest.append)
    assert [(step.step, step.figure("flow")) for step in rest] == [(4, pytest.approx(told[4].figure("flow"), rel=1e-4))]
    one, both = (load_file(tmp_path / run / "00000005" / "model.safetensors") for run in ("one", "two"))
    rate = settings(5).learning_rate
    assert all(torch.allclose(one[name], both[name], rtol=0, atol=rate / 4) for name in one)
    assert one.keys() == both.keys()


def test_a_whole_curriculum_is_paused_and_built_by_two(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    told: list[Progress] = []
    build(MICRO, tmp_path / "one", told.append)
    two = ("sama_model.training", FILE, tmp_path / "two", "--processes", 2)
    paused = called(*two, "--seconds", 0)
    assert (paused.returncode, paused.stderr) == (PAUSED, "")
    assert paused.stdout.splitlines()[-1].endswith("stopped after 1 of 3 steps; the same command goes on")
    assert [line.step for line in lines_from(tmp_path / "two")[0] if isinstance(line, Point)] == [1]
    done = called(*two)
    assert done.returncode == 0, done.stderr
    points = [line for line in lines_from(tmp_path / "two")[0] if isinstance(line, Point)]
    assert [(point.part, point.step) for point in points] == [(step.part, step.step + 1) for step in told]
    for part, steps in (("vae", 1), ("image_encoder", 2)):  # a fresh VAE of this size doubles rounding with every step
        totals = [dict(point.values)["total"] for point in points if point.part == part][:steps]
        assert totals == pytest.approx([step.figure("total") for step in told if step.part == part][:steps], rel=1e-5)
    assert (tmp_path / "two" / "weights" / "micro" / "card.json").is_file()


def test_several_processes_end_as_one_would_where_the_call_is_unusable(tmp_path: Path) -> None:
    refused = called("sama_model.training", "nothing", tmp_path, "--processes", 2)
    assert refused.returncode == UNUSABLE
    assert {line[:33] for line in refused.stderr.splitlines()} == {"there is no curriculum 'nothing';"}


def test_the_gradient_of_a_step_is_the_mean_of_its_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, in which what is left is no rounding."""
    torch.set_num_threads(1)
    monkeypatch.setattr(vae, "pixels", lambda frames: pixels(frames).double())
    draw, model = vae.ClipBatches(MICRO.clips(), MICRO.vae.loop), new_vae(MICRO.vae.sizes).double()

    def gradient(*shares: Share) -> torch.Tensor:
        task = vae.VaeTask(model, MICRO.vae, draw, "")
        model.zero_grad()
        for share in shares:
            (task.losses(draw.sharing(share)(0).content)["total"] / len(shares)).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    whole, shared = gradient(WHOLE), gradient(Share(0, 2), Share(1, 2))
    assert (whole - shared).norm() < 1e-6 * whole.norm()
