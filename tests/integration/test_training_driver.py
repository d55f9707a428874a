"""From nothing to weights: killed at any point it ends in the same, and the editor loads what came of it strictly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sama_model.config import Options, VaeSizes
from sama_model.editors import load
from sama_model.editors.base import EditRequest
from sama_model.encoders import decode_latents, encode_video
from sama_model.errors import WeightsError
from sama_model.folders import check_folder
from sama_model.pipeline import SamaPipeline
from sama_model.training.__main__ import PAUSED, main
from sama_model.training.batches import pixels
from sama_model.training.curriculum import committed, read
from sama_model.training.data import Example
from sama_model.training.driver import PARTS, Built, build
from sama_model.training.image_encoder import PictureBatches
from sama_model.training.journal import Begun, Point, lines_from
from sama_model.training.linear_code import begin
from sama_model.training.loop import Drawn, PausedError, Progress, ahead
from sama_model.training.settings import LoopSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.tokenizer import learned
from sama_model.training.vae import ClipBatches, VaeSettings, measured, trained_vae
from sama_model.training.world.drawing import draw
from sama_model.training.world.rules import SMALL_WORLD
from sama_model.training.world.samples import drawn, planned
from sama_model.weights import empty_text_encoder, empty_transformer, empty_vae, new_vae

pytestmark = pytest.mark.model

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "tests" / "fakes" / "micro.toml"
MICRO = read(FILE)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, told: list[Progress]) -> Built:
    """The micro model, built in one go."""
    torch.set_num_threads(1)
    return build(MICRO, tmp_path_factory.mktemp("whole"), told.append)


def after(steps: int) -> Callable[[], bool]:
    """Says stop once so many steps were done."""
    done = iter(range(1, 1000))
    return lambda: next(done) >= steps


def test_every_part_tells_every_step(built: Built, told: list[Progress]) -> None:
    steps = {part: [each.step for each in told if each.part == part] for part in PARTS}
    assert steps == {"vae": [0, 1, 2], "image_encoder": [0, 1], "stage_zero": [0, 1, 2], "stage_one": [0, 1, 2]}
    assert {each.steps for each in told if each.part == "image_encoder"} == {2}
    assert {"total", "flow", "semantic"} == {name for name, _ in told[-1].figures}


def test_a_paused_and_then_a_killed_run_end_in_the_same_weights(built: Built, tmp_path: Path) -> None:
    with pytest.raises(PausedError, match="vae: stopped after 1 of 3"):
        build(MICRO, tmp_path, lambda _: None, after(1))
    command = [sys.executable, "-W", "ignore", "-u", "-m", "sama_model.training", str(FILE), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"stage_zero 3/3"):
                process.kill()
                break
    assert process.returncode == -9
    rest: list[Progress] = []
    again = build(MICRO, tmp_path, rest.append)
    assert {each.part for each in rest} <= {"stage_zero", "stage_one"}
    assert again.installed == built.installed
    assert again.data == built.data == MICRO.data()


def test_the_editor_loads_the_weights_as_any_others_and_edits_a_clip(built: Built) -> None:
    assert set(check_folder(built.weights).values()) == {torch.bfloat16}
    editor = load("sama", "micro", Options(weights_folder=built.weights.parent), ["make it blue"])
    sample = drawn(planned(1, 0, rules=SMALL_WORLD), SMALL_WORLD)
    edited = editor.edit(
        EditRequest(
            frames=sample.source,
            instruction="make it blue",
            seed=1,
            first_latent=0,
            recipe=dict(editor.card.recipes)["quality"],
        ),
        lambda *_: None,
    )
    assert edited.shape == sample.source.shape
    assert editor.card.digest == built.installed.card.digest
    pipeline = SamaPipeline.from_pretrained(built.weights)
    assert len(pipeline.vae.config.latents_mean) == 4
    assert pipeline.vae.config.latents_mean != [0.0] * 4


def test_weights_that_lack_a_tensor_are_refused(built: Built, tmp_path: Path) -> None:
    files = {path.stem: load_file(path) for path in (built.weights.parents[1] / "released").glob("*.safetensors")}
    assert files.keys() == {"transformer", "text_encoder", "vae"}
    assert "blocks.0.self_attn.q.weight" in files["transformer"]
    shutil.copytree(built.weights, tmp_path / "copy")
    file = tmp_path / "copy" / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["proj_out.bias"]
    save_file(tensors, file)
    with pytest.raises(WeightsError, match=r"1 missing: proj_out\.bias"):
        check_folder(tmp_path / "copy")


def test_the_command_stops_in_time_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FILE), str(tmp_path), "--seconds", "0"]) == PAUSED
    assert "vae 1/3" not in capsys.readouterr().out.splitlines()[-1]
    begun, point = lines_from(tmp_path)[0]
    assert isinstance(begun, Begun)
    assert (begun.data_digest, dict(begun.parts)["stage_zero"]) == (MICRO.data(), 3)
    assert isinstance(point, Point)
    assert (point.part, point.step, point.steps) == ("vae", 1, 3)
    for name in ("nothing", "../curricula/pico", str(FILE.with_suffix(""))):
        assert main([name, str(tmp_path)]) == 2
        assert f"there is no curriculum '{name}'; there are nano, pico" in capsys.readouterr().err


def test_a_rehearsal_makes_no_weights_of_the_curriculums_name() -> None:
    assert MICRO.shortened(1).name == "micro-rehearsal"
    with pytest.raises(WeightsError, match="are at least 1"):
        MICRO.shortened(0)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_bfloat16_products_train_too_and_drawing_processes_change_nothing(tmp_path: Path) -> None:
    lower = replace(MICRO.vae.loop, mixed_precision="bf16")
    figures = []
    for workers in (0, 2):
        told: list[Progress] = []
        settings = VaeSettings(MICRO.vae.sizes, replace(lower, workers=workers))
        vae = trained_vae(settings, MICRO.clips(), tmp_path / str(workers), told.append)
        figures.append([each.figures for each in told])
    assert figures[0] == figures[1]
    assert {parameter.dtype for parameter in vae.parameters()} == {torch.float32}
    stage = replace(MICRO, stage_zero=replace(MICRO.stage_zero, mixed_precision="bf16", steps=1))
    short = replace(stage, stage_one=replace(MICRO.stage_one, mixed_precision="bf16", steps=1)).shortened(1)
    done: list[Progress] = []
    build(short, tmp_path / "all", done.append)
    assert all(np.isfinite(each.figure("total")) for each in done)


class Two:
    """The same two clips again and again."""

    def example(self, number: int) -> Example:
        return StageOne(3, "small", ("remove",)).example(number % 2)

    def __repr__(self) -> str:
        return "two clips"


def test_the_vae_learns_two_clips(tmp_path: Path) -> None:
    sizes = VaeSizes(base_dim=8, z_dim=12, dim_mult=(1, 1, 2), num_res_blocks=1, temporal_downsample=(True, True))
    loop = LoopSettings(40, 2, learning_rate=2e-4, warmup=5, cooldown=30, ema_decay=0.5, checkpoint_every=100)
    told: list[Progress] = []
    vae = trained_vae(VaeSettings(sizes, loop), Two(), tmp_path, told.append)
    assert told[-1].figure("l1") < 0.93 * told[0].figure("l1")
    assert len(vae.config.latents_std) == 12
    assert min(vae.config.latents_std) > 0


def test_the_vae_is_shown_a_part_of_each_clip_and_the_same_again() -> None:
    loop = LoopSettings(4, 3)
    whole = ClipBatches(StageOne(4, "small"), loop)(2).content.frames.numpy()
    batches = ClipBatches(StageOne(4, "small"), loop, (5, 16, 24))
    parts = [batches(2).content.frames.numpy() for _ in range(2)]
    assert np.array_equal(*parts)
    assert parts[0].shape == (3, 5, 16, 24, 3)
    assert not np.array_equal(parts[0], batches(3).content.frames.numpy())
    for clip, part in zip(whole, parts[0], strict=True):
        places = np.lib.stride_tricks.sliding_window_view(clip, part.shape)
        assert (places == part).all(axis=(-4, -3, -2, -1)).any()


def test_a_vae_is_not_shown_what_it_cannot_halve() -> None:
    with pytest.raises(ValueError, match=re.escape("crop is frames (4k+1), height and width")):
        VaeSettings(MICRO.vae.sizes, MICRO.vae.loop, crop=(6, 16, 24))


def test_a_unit_of_any_normalised_latent_changes_the_picture_alike() -> None:
    """And their power is 1 in the mean."""
    torch.manual_seed(0)
    vae = new_vae(VaeSizes(8, 6, (1, 1, 2), 1, (True, True)))
    frames = torch.from_numpy(np.stack([StageOne(4, "small").example(i).source for i in range(8)]))
    begin(vae, pixels(frames))
    mean, std = measured(vae, [frames])
    vae.register_to_config(latents_mean=mean, latents_std=std)
    with torch.no_grad():
        latents = encode_video(vae, pixels(frames))
        plain = decode_latents(vae, latents)
        changed = [latents.index_add(1, torch.tensor([i]), 0.05 * torch.randn_like(latents[:, :1])) for i in range(6)]
        effects = [float((decode_latents(vae, each) - plain).square().mean().sqrt()) for each in changed]
    assert max(effects) < 1.3 * min(effects)
    assert latents.var(dim=(0, 2, 3, 4)).mean() == pytest.approx(1, rel=0.02)


def test_any_text_has_tokens_and_the_world_few() -> None:
    tokenizer = learned(SMALL_WORLD, 1, 400)
    ids = tokenizer("Turn the RED square into a grün 🟩")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id == 1
    assert "red square" in tokenizer.decode(ids)
    assert "grün 🟩" in tokenizer.decode(ids)
    assert len(tokenizer("[Video edit] Remove the small green square.")["input_ids"]) < 20
    assert tokenizer.get_vocab() == learned(SMALL_WORLD, 1, 400).get_vocab()


def test_the_image_encoder_is_told_what_is_where() -> None:
    pictures = PictureBatches("small", LoopSettings(1, 6))(0).content
    for number in range(6):
        plan = planned(0, number, rules=SMALL_WORLD)
        scene = plan.target if number % 2 else plan.source
        frames = slice(number * SMALL_WORLD.frames, (number + 1) * SMALL_WORLD.frames)
        assert np.array_equal(pictures.frames[frames].numpy(), draw(scene, SMALL_WORLD).frames)
        colours = [colour.name for colour in SMALL_WORLD.colours]
        told = {colours[i] for i in np.flatnonzero(pictures.labels.whole["colour"][frames].numpy().max(axis=0))}
        cells = set(pictures.labels.local["colour"][frames].flatten().tolist()) - {0}
        assert {colours[i - 1] for i in cells} <= told <= {thing.look.colour for thing in scene.things}


def test_blocks_that_cannot_be_compiled_are_told_of_before_anything_is_trained(tmp_path: Path) -> None:
    curriculum = tmp_path / "compiled.toml"
    curriculum.write_text(FILE.read_text(encoding="utf-8").replace("[stage_one]", "[stage_one]\ncompile = true"))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sama_model.training", str(curriculum), str(tmp_path / "run")],
        env={**os.environ, "CXX": str(tmp_path / "g++"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "compiles its blocks, and that cannot be done here" in ended.stderr
    assert "install g++" in ended.stderr
    assert not list((tmp_path / "run").glob("vae/*"))


def test_batches_come_in_their_order() -> None:
    steps = range(3, 9)
    assert [drawn.content for drawn in ahead(Numbered(), steps, 2)] == list(steps)


class Numbered:
    def __call__(self, step: int) -> Drawn[int]:
        return Drawn(step)


def test_the_committed_curricula_are_whole_and_small() -> None:
    for name, most in (("pico", 7.5e6), ("nano", 12e6)):
        curriculum = committed(name)
        assert curriculum.name == name
        assert parameters(curriculum.transformer, curriculum.text_encoder, curriculum.vae.sizes) < most


def parameters(*sizes: object) -> int:
    """Numbers of the networks of these sizes."""
    makers = (empty_transformer, empty_text_encoder, empty_vae)
    models = [make(each) for make, each in zip(makers, sizes, strict=True)]
    return sum(parameter.numel() for model in models for parameter in model.parameters())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[chunks]", "[chunks]\nlaed = 4", "unknown keys chunks.laed"),
        ('name = "micro"', "", "name: Field required"),
        ("z_dim = 4", "z_dim = 5", "must be the VAE's z_dim"),
        ("z_dim = 4", "z_dim = 6", "of the 6 channels of the deepest layer one is constant"),
        ('world = "small"', 'world = "flat"', "there are full, small"),
        ("train_text = true", "train_text = false", "train_text"),
        ('name = "micro"', 'name = "../../micro"', "cannot be the name of weights"),
        ('kinds = ["recolour"', 'kinds = ["recolor"', "there is no kind of edit 'recolor'; there are replace, add"),
        ("checkpoint_every = 2", "checkpoint_every = 0", "are at least 1"),
        ("[stage_one]", '[stage_one]\nsemantic_target = "clean"', "semantic_target is 'velocity'"),
        ("[stage_zero]", "[stage_zero]\ncompile = true", "stage_one's compile is true too"),
    ],
)
def test_a_curriculum_that_is_wrong_is_refused_by_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(FILE.read_text().replace(old, new, 1))
    with pytest.raises(WeightsError, match=said):
        read(path)
