"""The recording of the official code, played again: every tensor within its limit, and a change is noticed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from flows.cli import app
from sama_model.errors import WeightsError
from sama_model.parity import EXACT, LEVELS, compare, limit
from sama_model.reuse import EVERYTHING, NOTHING, Reuse
from sama_model.reuse import EXACT as EXACT_SAVINGS

pytestmark = pytest.mark.shared

NAMES = """context_negative context_positive decoded edited_frames final_latents final_semantic latents_after_step_1
semantic_after_step_1 semantic_tokens_in semantic_velocity_negative semantic_velocity_positive sigmas
sigmas[steps=30,shift=3.0] sigmas[steps=50,shift=5.0] sigmas[steps=8,shift=5.0] source_latents text_embedding timesteps
timesteps[first] velocity_negative velocity_positive"""


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "sama_tiny"


@pytest.fixture
def copy(golden: Path, tmp_path: Path) -> Path:
    """A golden folder that a test may damage."""
    return Path(shutil.copytree(golden, tmp_path / "golden", copy_function=shutil.copyfile))


def rewrite(path: Path, **changed: torch.Tensor) -> None:
    save_file(load_file(path) | changed, path)


def test_every_recorded_tensor_is_reproduced_within_its_limit(golden: Path) -> None:
    errors = compare(golden)
    assert list(errors) == NAMES.split()
    assert {name: error for name, error in errors.items() if not error <= limit(name)} == {}


@pytest.mark.parametrize("name", EXACT_SAVINGS)
def test_every_exact_saving_alone_reproduces_the_recording(golden: Path, name: str) -> None:
    errors = compare(golden, replace(NOTHING, **{name: True}))
    assert {name: error for name, error in errors.items() if not error <= limit(name)} == {}


@pytest.mark.parametrize("reuse", [NOTHING, EVERYTHING], ids=["none", "all"])
def test_no_saving_and_all_savings_together_reproduce_the_recording(golden: Path, reuse: Reuse) -> None:
    errors = compare(golden, reuse)
    assert {name: error for name, error in errors.items() if not error <= limit(name)} == {}


def test_limits_are_those_that_were_promised() -> None:
    assert {limit(name) for name in NAMES.split() if name.startswith(EXACT)} == {0.0}
    assert (limit("velocity_positive"), limit("source_latents"), limit("decoded"), limit(LEVELS)) == (
        1e-5,
        1e-5,
        1e-4,
        1,
    )


def test_a_changed_weight_is_noticed_in_what_it_decides_and_nowhere_else(copy: Path) -> None:
    path = copy / "sama_dit.safetensors"
    weight = load_file(path)["blocks.1.ffn.0.weight"]
    rewrite(path, **{"blocks.1.ffn.0.weight": weight * 1.05})
    errors = compare(copy)
    wrong = {name for name, error in errors.items() if error > limit(name)}
    assert {"velocity_positive", "semantic_velocity_negative", "final_latents", "decoded"} <= wrong
    assert not wrong & {"text_embedding", "source_latents", "sigmas", "semantic_tokens_in"}


def parity(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["model", "parity", str(folder), *options])


def test_the_command_says_every_limit_and_fails_when_one_is_exceeded(copy: Path) -> None:
    done = parity(copy)
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == NAMES.split()
    assert done.stdout.count("limit") == len(NAMES.split())
    sigmas = load_file(copy / "tensors.safetensors")["sigmas"]
    rewrite(copy / "tensors.safetensors", sigmas=sigmas + 1e-3)
    done = parity(copy)
    over = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("over its limit")]
    assert (done.exit_code, over) == (1, ["sigmas"])
    done = parity(copy, "--json")
    assert (done.exit_code, list(json.loads(done.stdout))) == (1, NAMES.split())


def test_a_changed_seed_of_the_noise_is_noticed(copy: Path) -> None:
    path = copy / "tensors.safetensors"
    rewrite(path, semantic_noise=torch.zeros(1, 65, 1152))
    assert compare(copy)["velocity_positive"] > limit("velocity_positive")


def test_a_recording_without_a_tensor_is_refused_by_name(copy: Path) -> None:
    path = copy / "tensors.safetensors"
    tensors = load_file(path)
    del tensors["final_latents"]
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="final_latents"):
        compare(copy)


def test_a_folder_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"golden\.json"):
        compare(tmp_path)
    (tmp_path / "golden.json").write_text(json.dumps({"config": {"num_heads": 4}}))
    with pytest.raises(WeightsError, match=r"sama_dit\.safetensors: no such weights file"):
        compare(tmp_path)
