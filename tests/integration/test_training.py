"""The training loop: a killed run ends in the bits of one that was not, and only whole checkpoints count."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from sama_model.attention import by_products
from sama_model.cards import card
from sama_model.editors.sama import load_tiny
from sama_model.encoders import PROMPT_PREFIX, tokenize
from sama_model.errors import WeightsError
from sama_model.tiny import TRANSFORMER
from sama_model.training import checkpoints
from sama_model.training.adapters import merge, save_lora
from sama_model.training.batches import batch_of, step_generator
from sama_model.training.data import Example, gathered
from sama_model.training.loop import Progress, adopt
from sama_model.training.settings import TrainingSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.trainer import train
from sama_model.transformer import SamaTransformer3DModel
from tests.fakes.training import Crops, networks, settings

pytestmark = pytest.mark.model

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = Crops(StageOne(seed=1))
STEPS = 5


def trained(run: Path, steps: int = STEPS) -> tuple[dict[str, torch.Tensor], list[torch.Tensor], list[Progress]]:
    """Every tensor of both networks, the average, and what was told."""
    mine, told = networks(), list[Progress]()
    average = train(mine, EXAMPLES, settings(steps), run, told.append)
    tensors = {f"transformer {name}": tensor for name, tensor in mine.transformer.state_dict().items()}
    tensors |= {f"text {name}": tensor for name, tensor in mine.text_encoder.state_dict().items()}
    return tensors, average.shadow_params, told


def test_a_stage_does_not_go_on_with_another_vae(tmp_path: Path) -> None:
    train(networks(), EXAMPLES, settings(2), tmp_path, lambda progress: None)
    other = networks()
    with torch.no_grad():
        other.vae.encoder.conv_in.bias[0] += 1e-3
    with pytest.raises(WeightsError, match=r"00000002: made .* from other networks; remove .* to begin"):
        train(other, EXAMPLES, settings(4), tmp_path, lambda progress: None)


def killed_after(run: Path, step: int) -> None:
    """A process of its own, ended by SIGKILL once it has said that it has done the step."""
    command = [sys.executable, "-m", "tests.fakes.training", str(run), "100"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[0] == str(step).encode():
                process.kill()
                break
    assert process.returncode == -9


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, whole_average, told = trained(tmp_path / "whole")
    killed_after(tmp_path / "killed", 2)
    assert [folder.name for folder in checkpoints.whole(tmp_path / "killed")] == ["00000002"]
    resumed, resumed_average, rest = trained(tmp_path / "killed")
    assert [progress.step for progress in rest] == [2, 3, 4]
    assert rest == told[2:]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert all(torch.equal(one, other) for one, other in zip(whole_average, resumed_average, strict=True))
    before = networks().transformer.state_dict()
    assert not torch.equal(before["proj_out.weight"], whole["transformer proj_out.weight"])
    assert [folder.name for folder in checkpoints.whole(tmp_path / "whole")] == ["00000004", "00000005"]


@dataclass(frozen=True)
class Two:
    """The same two examples again and again."""

    def example(self, number: int) -> Example:
        return EXAMPLES.example(number % 2)


def test_the_matrices_of_blocks_are_stepped_by_muon_and_go_on_to_the_same_bits(tmp_path: Path) -> None:
    def trained_by(run: Path, steps: int, optimizer: str) -> dict[str, torch.Tensor]:
        mine = networks()
        train(mine, EXAMPLES, replace(settings(steps), optimizer=optimizer), run, lambda progress: None)
        return mine.transformer.state_dict()

    whole = trained_by(tmp_path / "whole", 3, "muon")
    trained_by(tmp_path / "parts", 2, "muon")
    resumed = trained_by(tmp_path / "parts", 3, "muon")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    before, step = networks().transformer.state_dict(), trained_by(tmp_path / "one", 1, "muon")
    by_adamw = trained_by(tmp_path / "adamw", 1, "adamw")
    matrices = {name for name, tensor in step.items() if name.startswith("blocks.") and tensor.dim() == 2}
    assert len(matrices) == 10 * TRANSFORMER.num_layers
    assert {name for name, tensor in step.items() if not torch.equal(tensor, by_adamw[name])} == matrices
    moved = step["blocks.0.attn1.to_q.weight"] - before["blocks.0.attn1.to_q.weight"]
    singular = torch.linalg.svdvals(moved)
    assert singular[0] < 1.5 * singular[4], "an update of one size in every direction that the gradient has"


def test_a_lora_is_trained_alone_goes_on_to_the_same_bits_and_is_a_file_like_others(tmp_path: Path) -> None:
    def trained_by(run: Path, steps: int) -> SamaTransformer3DModel:
        mine = networks()
        adopt(train(mine, EXAMPLES, lora(steps), run, lambda progress: None), mine.trained(lora(steps)))
        return mine.transformer

    def lora(steps: int) -> TrainingSettings:
        return replace(settings(steps), train_text=False, lora_rank=2, ema_decay=0.5)

    whole = trained_by(tmp_path / "whole", 3)
    trained_by(tmp_path / "parts", 2)
    resumed = trained_by(tmp_path / "parts", 3)
    before, after = networks().transformer.state_dict(), whole.state_dict()
    base = {name.replace(".base_layer", ""): tensor for name, tensor in after.items() if ".lora_" not in name}
    assert all(torch.equal(base[name], tensor) for name, tensor in before.items())
    factors = {name: tensor for name, tensor in after.items() if ".lora_" in name}
    assert len(factors) == 2 * 10 * TRANSFORMER.num_layers
    assert all(tensor.any() for name, tensor in factors.items() if "lora_B" in name)
    assert all(torch.equal(resumed.state_dict()[name], tensor) for name, tensor in factors.items())

    pipeline = load_tiny(card("sama", "tiny").digest)
    pipeline.load_lora_weights(save_lora(whole, tmp_path), adapter_name="mine")
    merge(whole)
    merged = whole.state_dict()
    assert merged.keys() == before.keys()
    assert not torch.equal(merged["blocks.0.attn1.to_q.weight"], before["blocks.0.attn1.to_q.weight"])
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    for name, tensor in pipeline.transformer.state_dict().items():
        torch.testing.assert_close(tensor, merged[name])


def test_the_loop_learns_two_examples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = SamaTransformer3DModel.of(replace(TRANSFORMER, num_layers=2))
    told: list[Progress] = []
    fast = replace(settings(30), batch=4, train_text=False, learning_rate=2e-3, checkpoint_every=100)
    train(replace(networks(), transformer=fresh), Two(), fast, tmp_path, told.append)
    first, last = told[:10], told[-10:]
    assert sum(step.figure("flow") for step in last) < 0.8 * sum(step.figure("flow") for step in first)
    assert sum(step.figure("semantic") for step in last) < 0.95 * sum(step.figure("semantic") for step in first)


def write(run: Path, step: int) -> Path:
    return checkpoints.write(run, step, "these settings", lambda folder: (folder / "weights").write_bytes(b"abc"))


def test_only_a_marked_checkpoint_counts_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path, lambda done: "these settings") is None
    for step in (1, 2, 3):
        write(tmp_path, step)
    (tmp_path / "00000004").mkdir()
    (tmp_path / "00000004" / "weights").write_bytes(b"half")
    found = checkpoints.newest(tmp_path, lambda done: "these settings")
    assert found is not None
    assert found[1].step == 3
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["00000002", "00000003", "00000004"]


def test_a_checkpoint_that_was_changed_or_is_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    with pytest.raises(WeightsError, match="made under other settings or examples"):
        checkpoints.newest(tmp_path, lambda done: "others")
    (folder / "weights").write_bytes(b"abd")
    with pytest.raises(WeightsError, match="weights: missing or changed since it was written"):
        checkpoints.newest(tmp_path, lambda done: "these settings")


def test_a_run_may_become_longer_but_not_another(tmp_path: Path) -> None:
    short = settings(4)
    longer = replace(short, steps=9, checkpoint_every=3, gradient_checkpointing=True)
    assert short.digest(4) == longer.digest(4)
    assert short.digest(4) != replace(short, learning_rate=2e-3).digest(4)
    assert [round(short.rate_at(step) * 3e3) for step in range(4)] == [1, 2, 3, 3]


def test_once_the_rate_falls_the_length_of_a_run_decides_its_steps() -> None:
    falling = replace(settings(8), warmup=0, learning_rate=1.0, cooldown=3)
    assert [falling.rate_at(step) for step in range(8)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    longer = replace(falling, steps=12)
    assert falling.digest(5) == longer.digest(5) == replace(falling, cooldown=0).digest(5)
    assert falling.digest(6) != longer.digest(6)
    assert [longer.rate_at(step) for step in range(8)] == [1] * 8


def test_attention_by_products_is_the_fused_one_and_has_its_gradients() -> None:
    torch.manual_seed(0)
    for dtype, nearly in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        query, key, value = (torch.randn(2, n, 3, 16, dtype=dtype, requires_grad=True) for n in (9, 5, 5))
        bias = torch.randn(2, 1, 1, 5)
        for each in (None, bias):
            fused = torch.nn.functional.scaled_dot_product_attention(
                *(x.transpose(1, 2) for x in (query, key, value)), attn_mask=None if each is None else each.to(dtype)
            ).transpose(1, 2)
            ours = by_products(query, key, value, each)
            assert torch.allclose(ours, fused, atol=nearly)
            for one, other in zip(
                *(torch.autograd.grad(x.sum(), (query, key, value)) for x in (ours, fused)), strict=True
            ):
                assert torch.allclose(one, other, atol=4 * nearly)


def test_a_step_draws_the_same_again_and_drops_some_instructions() -> None:
    examples = gathered(EXAMPLES, range(4))
    often = replace(settings(1), text_dropout=0.5)
    tokenizer = networks().tokenizer
    one, again, other = (batch_of(examples, often, step_generator(often, step), tokenizer) for step in (3, 3, 4))
    assert torch.equal(one.prompts.ids, again.prompts.ids)
    assert torch.equal(one.u, again.u)
    assert one.noise == again.noise != other.noise
    every = [batch_of(examples, often, step_generator(often, step), tokenizer).prompts for step in range(20)]
    bare = tokenize(tokenizer, PROMPT_PREFIX)
    lengths = torch.cat([prompts.mask.sum(dim=1) for prompts in every])
    assert 25 <= (lengths == bare.mask.sum()).sum() <= 55
    prefix = bare.ids[0, : int(bare.mask.sum()) - 1]
    assert all(torch.equal(ids[: len(prefix)], prefix) for prompts in every for ids in prompts.ids)
    assert one.anchors.shape == (4, 1, 32, 32, 3)


def inputs() -> tuple[torch.Tensor, ...]:
    """Two samples with a timestep of their own each."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 16, 2, 4, 4), (2, 16, 2, 4, 4), (2, 65, TRANSFORMER.semantic_dim), (2,), (2, 9, TRANSFORMER.text_dim))
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[3] = torch.tensor([300.0, 900.0])
    return tuple(tensors)


def test_a_batch_says_what_its_samples_say_alone() -> None:
    torch.manual_seed(0)
    model = SamaTransformer3DModel.of(TRANSFORMER)
    with torch.no_grad():
        both = model(*inputs())
        for i in range(2):
            alone = model(*(tensor[i : i + 1] for tensor in inputs()))
            assert torch.allclose(both.row(i).video, alone.video, atol=1e-5)
            assert torch.allclose(both.row(i).semantic, alone.semantic, atol=1e-5)


def test_blocks_that_are_computed_again_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = SamaTransformer3DModel.of(replace(TRANSFORMER, num_layers=2)).train()
    gradients = []
    for again in (False, True):
        if again:
            model.enable_gradient_checkpointing()
        model.zero_grad()
        said = model(*inputs())
        (said.video.square().mean() + said.semantic.abs().mean()).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


@pytest.mark.filterwarnings("ignore")  # torch has some for itself while it compiles
def test_compiled_blocks_take_the_same_steps(tmp_path: Path) -> None:
    losses = {}
    for compiled in (False, True):
        told = list[Progress]()
        train(networks(), EXAMPLES, replace(settings(3), compile=compiled), tmp_path / str(compiled), told.append)
        losses[compiled] = [progress.figure("total") for progress in told]
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
