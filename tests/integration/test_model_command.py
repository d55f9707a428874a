"""`samaflow model` as a person runs it, and rows that name what it made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file
from transformers import ByT5Tokenizer
from typer.testing import CliRunner

import sql
from edits.settings import load_settings
from flows.cli import app
from sama_model.config import Options
from sama_model.editors import load
from sama_model.editors.base import EditRequest, unused_progress
from sama_model.errors import WeightsError
from sama_model.tiny import tiny_tensors
from tasks.catalogue import build_catalogue
from tasks.version import code_version
from tests.contract.test_editors import clip
from tests.fakes.command import SAMAFLOW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the weights `tiny` as released files."""
    path = tmp_path_factory.mktemp("models")
    tensors = tiny_tensors()
    save_file(tensors["transformer"], path / "sama.safetensors")
    torch.save(tensors["text_encoder"], path / "t5.pth")
    torch.save(tensors["vae"], path / "vae.pth")
    ByT5Tokenizer(extra_ids=0).save_pretrained(path / "tokenizer")
    return path


FILES = ("--sama", "sama.safetensors", "--text-encoder", "t5.pth", "--vae", "vae.pth", "--tokenizer", "tokenizer")


def model(folder: Path, *arguments: str) -> Result:
    """The command in this process, because each of its own would import torch for six seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("SAMAFLOW_")]:
            patch.delenv(name)
        return CliRunner().invoke(app, ["model", *arguments])


def convert(folder: Path, name: str, *files: str) -> Result:
    return model(folder, "convert", *FILES, *files, "--name", name, "--heads", "3", "--json")


@pytest.fixture(scope="module")
def converted(folder: Path) -> dict[str, Any]:
    done = convert(folder, "mine")
    assert done.exit_code == 0, done.stderr
    line: dict[str, Any] = json.loads(done.stdout)
    return line


def test_converted_weights_edit_exactly_as_those_that_they_were_made_from(
    folder: Path, converted: dict[str, Any]
) -> None:
    """The same network, loaded by the name that a row would write."""
    options = Options(weights_folder=folder / ".samaflow" / "weights")
    mine, tiny = load("sama", "mine", options), load("sama", "tiny")
    request = EditRequest(clip(), "make it snow", 3, tiny.card.recipes[0][1])
    assert mine.card.digest == converted["digest"]
    assert (mine.edit(request, unused_progress) == tiny.edit(request, unused_progress)).all()


def test_inspect_says_what_is_there_and_can_read_it_all_again(folder: Path, converted: dict[str, Any]) -> None:
    done = model(folder, "inspect", "mine", "--verify", "--json")
    line = json.loads(done.stdout)
    assert line == converted | {"verified": True}
    kinds = [part["kind"] for part in line["parts"]]
    assert kinds == ["SamaTransformer3DModel", "UMT5EncoderModel", "AutoencoderKLWan"]
    assert line["parts"][0]["config"]["num_layers"] == 1
    assert {part["dtype"] for part in line["parts"]} == {"float32"}
    printed = model(folder, "inspect", ".samaflow/weights/mine").stdout
    assert converted["digest"] in printed
    assert "num_layers = 1" in printed


def test_registering_twice_is_harmless(folder: Path, converted: dict[str, Any]) -> None:
    for _ in range(2):
        done = model(folder, "register", "mine")
        assert (done.exit_code, converted["digest"] in done.stdout) == (0, True), done.stderr
    assert converted["converter"] == f"samaflow {code_version()}"
    db = sql.open_database(f"sqlite:///{folder}/.samaflow/samaflow.db")
    assert [line.converter for line in sql.touched_by(db, "sama/mine").models] == [converted["converter"]]
    db.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("inspect", "absent"), "no weights' card"),
        (("register", "absent"), "no weights' card"),
        (("inspect", "tiny"), "'tiny' is built in and has no folder"),
        (("register", "tiny"), "'tiny' is built in and has no folder"),
        (("lora", "tiny", "any.safetensors", "--name", "new"), "'tiny' is built in and has no folder"),
    ],
)
def test_weights_that_are_not_there_are_an_unusable_call(
    folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = model(folder, *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_truncated_file_is_one_sentence(folder: Path) -> None:
    (folder / "cut.safetensors").write_bytes((folder / "sama.safetensors").read_bytes()[:-10])
    done = convert(folder, "cut", "--sama", "cut.safetensors")
    assert done.exit_code == 2
    assert "cut.safetensors: not a whole safetensors file" in done.stderr


def test_a_real_process_says_the_same_sentence_and_no_traceback(folder: Path) -> None:
    command = [str(SAMAFLOW), "model", "inspect", "absent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no weights' card" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, "libraries speak of what nobody asked for"


def test_a_lora_makes_weights_of_their_own_with_presets_without_guidance(
    folder: Path, converted: dict[str, Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    name = "diffusion_model.blocks.0.self_attn.v"
    factors = {
        f"{name}.lora_A.weight": torch.randn(2, 96, generator=generator),
        f"{name}.lora_B.weight": torch.randn(96, 2, generator=generator),
    }
    save_file(factors, folder / "distilled.safetensors")
    done = model(folder, "lora", "mine", "distilled.safetensors", "--name", "quick", "--scale", "0.5")
    assert done.exit_code == 0, done.stderr
    options = Options(weights_folder=folder / ".samaflow" / "weights")
    mine, quick = load("sama", "mine", options), load("sama", "quick", options)
    assert quick.card.digest != mine.card.digest
    assert quick.card.recipes[0][0] == "turbo"
    assert (quick.card.recipes[0][1].steps, quick.card.recipes[0][1].guidance) == (4, 1.0)
    digest = hashlib.sha256((folder / "distilled.safetensors").read_bytes()).hexdigest()
    assert (quick.card.converter, quick.card.loras) == (converted["converter"], f"lora@0.5 {digest}")
    request = EditRequest(clip(), "make it snow", 3, quick.card.recipes[0][1])
    assert (mine.edit(request, unused_progress) != quick.edit(request, unused_progress)).any()


def test_weights_with_a_lora_are_looked_at_and_recorded_like_others(folder: Path, converted: dict[str, Any]) -> None:
    make_lora(folder, "looked-at")
    line = json.loads(model(folder, "inspect", "looked-at", "--verify", "--json").stdout)
    assert line["parts"] == converted["parts"]
    assert (line["verified"], line["loras"][:7]) == (True, "lora@1 ")
    done = model(folder, "register", "looked-at")
    assert (done.exit_code, line["digest"] in done.stdout) == (0, True), done.stderr
    (folder / ".samaflow/weights/looked-at/lora.safetensors").write_bytes(b"damaged")
    done = model(folder, "inspect", "looked-at", "--verify")
    assert (done.exit_code, "the card says" in done.stderr) == (2, True)


def test_a_lora_notices_that_its_base_was_replaced(folder: Path, converted: dict[str, Any]) -> None:
    assert convert(folder, "base").exit_code == 0
    make_lora(folder, "stale", "base")
    shutil.rmtree(folder / ".samaflow/weights/base")
    assert convert(folder, "base", "--dtype", "bfloat16").exit_code == 0
    for command in ("inspect", "register"):
        done = model(folder, command, "stale")
        assert (done.exit_code, "weights 'base' that were replaced since" in done.stderr) == (2, True)
    with pytest.raises(WeightsError, match="'base' that were replaced since"):
        load("sama", "stale", Options(weights_folder=folder / ".samaflow" / "weights"))


LAYER = "diffusion_model.blocks.0.self_attn.v"
FACTORS = {f"{LAYER}.lora_A.weight": torch.ones(2, 96), f"{LAYER}.lora_B.weight": torch.ones(96, 2)}


def make_lora(folder: Path, name: str, base: str = "mine", *options: str) -> Result:
    save_file(FACTORS, folder / "ones.safetensors")
    return model(folder, "lora", base, "ones.safetensors", "--name", name, *options)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../../outside", "'../../outside' cannot be the name"),
        ("/outside", "'/outside' cannot be the name"),
        ("tiny", "'tiny' is the name of weights that are built in"),
    ],
)
def test_a_name_that_leads_elsewhere_or_is_taken_is_refused(
    folder: Path, converted: dict[str, Any], name: str, sentence: str
) -> None:
    for done in (convert(folder, name), make_lora(folder, name)):
        assert done.exit_code == 2
        assert sentence in done.stderr
    assert not (folder / "outside").exists()


@pytest.mark.parametrize("scale", ["nan", "inf"])
def test_a_scale_that_is_no_number_is_refused(folder: Path, converted: dict[str, Any], scale: str) -> None:
    done = make_lora(folder, "scaled", "mine", "--scale", scale)
    assert (done.exit_code, f"finite scale, not {scale}" in done.stderr) == (2, True)
    assert not (folder / ".samaflow/weights/scaled").exists()


def test_a_card_that_cannot_be_read_leaves_the_others_to_planning(
    folder: Path, converted: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    broken = folder / ".samaflow/weights/broken"
    broken.mkdir()
    (broken / "card.json").write_text("{}")
    settings = load_settings(folder, {}, {})
    catalogue = build_catalogue(settings)
    broken.joinpath("card.json").unlink()
    assert "mine" in catalogue["sama"].weights
    assert "weights 'broken' are left out: " in caplog.text


@pytest.mark.parametrize(
    ("width", "layer", "sentence"),
    [
        (128, "blocks.0.self_attn.v", "2 of another width: transformer.blocks.0.attn1.to_v.lora_A.weight is 128 wide"),
        (96, "blocks.7.self_attn.v", "2 for layers that are not there: transformer.blocks.7"),
    ],
)
def test_a_lora_for_another_network_is_refused_when_it_is_added(
    folder: Path, converted: dict[str, Any], width: int, layer: str, sentence: str
) -> None:
    name = f"diffusion_model.{layer}"
    factors = {f"{name}.lora_A.weight": torch.ones(2, width), f"{name}.lora_B.weight": torch.ones(width, 2)}
    save_file(factors, folder / "other.safetensors")
    done = model(folder, "lora", "mine", "other.safetensors", "--name", "never")
    assert done.exit_code == 2
    assert f"other.safetensors: this LoRA was made for another network than SamaTransformer3DModel: {sentence}" in (
        done.stderr
    )
    assert not (folder / ".samaflow" / "weights" / "never").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attention": "fastest"}, "there is no attention back end 'fastest'; there are fa3_fwd"),
        ({"attention": "sage"}, "an approximation that no chunk key names"),
        ({"attention": "fa3_fwd_fp8"}, "an approximation that no chunk key names"),
        ({"attention": "fa3_fwd"}, "needs the wheel fa3-fwd"),
    ],
)
@pytest.mark.parametrize("weights", ["mine", "tiny"])
def test_an_attention_back_end_that_cannot_be_is_refused_before_anything_is_edited(
    folder: Path, converted: dict[str, Any], options: dict[str, str], sentence: str, weights: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        load("sama", weights, Options(weights_folder=folder / ".samaflow" / "weights", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({}, "holds no low-rank factors"),
        ({f"{LAYER}.diff_b": torch.ones(96)}, "holds no low-rank factors"),
        (FACTORS | {f"{LAYER}.diff_b": torch.ones(50)}, "lora_B.bias is (50,), the layer 96 wide"),
        ({name: tensor * float("nan") for name, tensor in FACTORS.items()}, "2 tensors that are not finite"),
        ({name: tensor.to(torch.int8) for name, tensor in FACTORS.items()}, "2 tensors that are not finite"),
        ({name: tensor[None] for name, tensor in FACTORS.items()}, "lora_A.weight is (1, 2, 96), the layer 96 wide"),
        ({"lora_unet_blocks_0_self_attn_v.lora_down.weight": torch.ones(2, 96)}, "lacks 'blocks_0_self_attn_"),
    ],
)
def test_a_lora_that_would_add_nothing_or_nonsense_is_refused(
    folder: Path, converted: dict[str, Any], tensors: dict[str, torch.Tensor], sentence: str
) -> None:
    save_file(tensors, folder / "odd.safetensors")
    done = model(folder, "lora", "mine", "odd.safetensors", "--name", "odd")
    assert (done.exit_code, "odd.safetensors: this " in done.stderr, sentence in done.stderr) == (2, True, True)
    assert not (folder / ".samaflow" / "weights" / "odd").exists()


def test_a_lora_on_weights_that_lie_elsewhere_is_refused(folder: Path, converted: dict[str, Any]) -> None:
    shutil.copytree(folder / ".samaflow" / "weights" / "mine", folder / "elsewhere" / "mine")
    done = make_lora(folder, "lost", f"elsewhere{os.sep}mine")
    assert (done.exit_code, "move the folder there first" in done.stderr) == (2, True)
    assert not (folder / ".samaflow" / "weights" / "lost").exists()


def test_an_approximation_is_asked_for_by_name(folder: Path, converted: dict[str, Any]) -> None:
    options = Options(weights_folder=folder / ".samaflow" / "weights")
    tiled = load("sama", "mine+tiled", options)
    assert (tiled.card.digest, tiled.card.numerics) == (converted["digest"], "float32+tiled")
    request = EditRequest(clip(), "make it snow", 3, tiled.card.recipes[0][1])
    assert tiled.edit(request, unused_progress).shape == clip().shape


def test_random_weights_are_evaluated_at_their_own_size_and_do_nothing_that_was_asked(tmp_path: Path) -> None:
    def evaluate(*arguments: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            return CliRunner().invoke(app, ["evaluate", *arguments])

    done = evaluate("tiny", "--seed", "5", "--count", "2", "--preset", "balanced", "--sheet", "sheet.png", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["weights"], found["preset"], found["seed"]) == ("tiny", "balanced", 5)
    assert [(row["split"], row["kind"], row["count"]) for row in found["rows"]] == [
        ("seen", "replace", 1),
        ("seen", "add", 1),
        ("seen", "all", 2),
    ]
    whole = found["rows"][-1]
    assert whole["result"]["success"] == whole["no_edit"]["success"] == 0
    assert whole["no_edit"]["psnr_outside"] == 100
    assert whole["ceiling"]["psnr_inside"] > whole["result"]["psnr_inside"]
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert len(found["samples"]) == 2
    for wrong, message in (
        (("nothere",), "has no weights 'nothere'"),
        (("tiny", "--sheet", "."), ".: this is a folder"),
        (("tiny", "--sheet", "no/sheet.png"), "no/sheet.png: there is no folder of that name"),
    ):
        refused = evaluate(*wrong)
        assert refused.exit_code == 2
        assert message in refused.stderr
