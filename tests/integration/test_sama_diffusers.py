"""What diffusers promises of its models and pipelines, kept by SAMA's: each feature against the plain run.

Equality where the same products are computed in the same order, a stated tolerance where they are not.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.hooks import apply_group_offloading
from safetensors.torch import save_file
from torch import Tensor
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from sama_model.errors import WeightsError
from sama_model.pipeline import SamaPipeline
from sama_model.reuse import NOTHING, CombinationError, Reuse
from tests.fakes.three_layers import FRAMES, latents, near, three_layers

pytestmark = pytest.mark.model


@pytest.fixture
def pipeline() -> SamaPipeline:
    return three_layers()


# -- the call ---------------------------------------------------------------------------------------------------------


def test_a_callback_sees_every_step_and_may_replace_the_latents(pipeline: SamaPipeline) -> None:
    seen: list[tuple[int, float, list[str]]] = []

    def watch(pipe: SamaPipeline, i: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((i, round(t.item()), sorted(tensors)))
        return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} if i == 2 else {}

    replaced = latents(pipeline, callback_on_step_end=watch, callback_on_step_end_tensor_inputs=["latents", "semantic"])
    assert seen == [
        (0, 1000, ["latents", "semantic"]),
        (1, 909, ["latents", "semantic"]),
        (2, 714, ["latents", "semantic"]),
    ]
    assert replaced.abs().max() == 0


def test_a_callback_that_says_nothing_replaces_nothing(pipeline: SamaPipeline) -> None:
    assert torch.equal(latents(pipeline, callback_on_step_end=lambda *_: None), latents(pipeline))


def test_a_callback_stops_the_run_as_everywhere_in_diffusers(pipeline: SamaPipeline) -> None:
    seen: list[Tensor] = []

    def stop(pipe: SamaPipeline, i: int, t: Tensor, tensors: dict[str, Tensor]) -> None:
        seen.append(tensors["latents"])
        pipe._interrupt = i == 1

    stopped = latents(pipeline, callback_on_step_end=stop)
    assert len(seen) == 2
    assert torch.equal(stopped, seen[-1])
    assert not torch.equal(latents(pipeline), stopped), "the next run is whole"
    assert not pipeline.interrupt


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ({"prompt_embeds": torch.zeros(1)}, "can replace latents, semantic, not 'prompt_embeds'"),
        (
            {"latents": torch.zeros(1, 16, 1, 4, 6)},
            r"latents are .*, not torch\.float32 \(1, 16, 1, 4, 6\)",
        ),
        (
            {"semantic": torch.zeros(1, 65, 1152, dtype=torch.float64)},
            r"semantic are .*, not torch\.float64",
        ),
        (torch.zeros(1), "tensors by name, or None, not Tensor"),
    ],
)
def test_what_a_callback_returns_must_fit(pipeline: SamaPipeline, returned: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        latents(pipeline, callback_on_step_end=lambda *_: returned)


def test_a_callback_cannot_ask_for_what_there_is_not(pipeline: SamaPipeline) -> None:
    with pytest.raises(ValueError, match="given latents, semantic, not prompt_embeds"):
        latents(pipeline, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_the_progress_bar_counts_the_steps(pipeline: SamaPipeline) -> None:
    pipeline.set_progress_bar_config(disable=False)
    with redirect_stderr(io.StringIO()) as shown:
        latents(pipeline)
    assert "3/3" in shown.getvalue()


def test_without_a_text_encoder_encoded_prompts_do(pipeline: SamaPipeline) -> None:
    plain, contexts = latents(pipeline), pipeline.contexts("make it snow")
    pipeline.register_modules(text_encoder=None, tokenizer=None)
    given = pipeline(FRAMES, prompt_embeds=contexts, num_inference_steps=3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(given.latents, plain)
    with pytest.raises(ValueError, match="without a text encoder"):
        latents(pipeline)
    with pytest.raises(ValueError, match="give a prompt"):
        pipeline(FRAMES)


# -- LoRA -------------------------------------------------------------------------------------------------------------


def lora(dim: int = 96, scale: float = 0.1) -> dict[str, Tensor]:
    """Rank 2, for the queries of every block, under Wan's official names."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for i in range(3):
        name = f"diffusion_model.blocks.{i}.self_attn.q"
        tensors[f"{name}.lora_A.weight"] = torch.randn(2, dim, generator=generator) * scale
        tensors[f"{name}.lora_B.weight"] = torch.randn(dim, 2, generator=generator) * scale
    return tensors


def test_a_lora_is_added_to_the_weights_and_taken_out_again(pipeline: SamaPipeline, tmp_path: Path) -> None:
    plain = latents(pipeline)
    save_file(lora(), tmp_path / "turbo.safetensors")
    pipeline.load_lora_weights(tmp_path / "turbo.safetensors", adapter_name="turbo")
    with_lora = latents(pipeline)
    pipeline.unload_lora_weights()
    assert torch.equal(latents(pipeline), plain)
    tensors = lora()
    for i, block in enumerate(pipeline.transformer.blocks):
        name = f"diffusion_model.blocks.{i}.self_attn.q"
        block.attn1.to_q.weight += tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    assert not near(with_lora, plain, 1e-3)
    assert near(with_lora, latents(pipeline), 1e-5)


def test_a_lora_of_another_width_or_network_is_refused_by_name(pipeline: SamaPipeline) -> None:
    with pytest.raises(
        WeightsError, match=r"6 of another width: .*blocks\.\{0-2\}\.attn1\.to_q\.lora_A\.weight is 128 wide"
    ):
        pipeline.load_lora_weights(lora(dim=128))
    deeper = {name.replace("blocks.2", "blocks.7"): tensor for name, tensor in lora().items()}
    with pytest.raises(WeightsError, match=r"2 for layers that are not there: .*blocks\.7"):
        pipeline.load_lora_weights(deeper)


def test_a_lora_whose_factors_do_not_make_pairs_is_refused_and_leaves_nothing_behind(
    pipeline: SamaPipeline, tmp_path: Path
) -> None:
    plain, name = latents(pipeline), "diffusion_model.blocks.1.self_attn.q.lora_B.weight"
    half = {key: tensor for key, tensor in lora().items() if key != name}
    with pytest.raises(WeightsError, match=r"not whole, 1 missing: blocks\.1\.attn1\.to_q\.lora_B; "):
        pipeline.load_lora_weights(half)
    unequal = lora() | {name: torch.ones(96, 3)}
    with pytest.raises(WeightsError, match=r"1 factors of unequal rank: .*blocks\.1\.attn1\.to_q \(A 2, B 3\); "):
        pipeline.load_lora_weights(unequal)
    with pytest.raises(WeightsError, match=r"absent\.safetensors: no such LoRA; .*nothing is fetched"):
        pipeline.load_lora_weights(tmp_path / "absent.safetensors")
    assert pipeline.get_list_adapters() == {}
    assert torch.equal(latents(pipeline), plain)


def test_the_file_that_is_named_in_a_folder_is_the_one_that_is_checked(pipeline: SamaPipeline, tmp_path: Path) -> None:
    save_file(lora(dim=128), tmp_path / "a.safetensors")
    save_file(lora(), tmp_path / "b.safetensors")
    pipeline.load_lora_weights(tmp_path, weight_name="b.safetensors", adapter_name="b")
    with pytest.raises(WeightsError, match="128 wide"):
        pipeline.load_lora_weights(tmp_path, weight_name="a.safetensors", adapter_name="a")


def test_what_diffusers_drops_of_a_lora_is_named(
    pipeline: SamaPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {f"diffusion_model.{name}": torch.zeros(96) for name in (
        "blocks.0.norm3.diff", "blocks.0.norm3.diff_b", "patch_embedding.diff", "blocks.0.self_attn.q.diff_b"
    )}  # fmt: skip
    save_file(lora() | tensors, tmp_path / "lora.safetensors")
    added = pipeline.lora_state_dict(tmp_path / "lora.safetensors")
    assert [name for name in added if name.endswith(".bias")] == ["transformer.blocks.0.attn1.to_q.lora_B.bias"]
    pipeline.load_lora_weights(tmp_path / "lora.safetensors")
    (said,) = [record.getMessage() for record in caplog.records if record.name == "sama_model.lora"]
    assert said.startswith("3 tensors of this LoRA have no layer to be added to and are left out: ")
    assert "norm3.diff, " in said
    assert "patch_embedding.diff" in said
    assert "self_attn" not in said


# -- memory -----------------------------------------------------------------------------------------------------------


def by_blocks(pipeline: SamaPipeline) -> None:
    pipeline.transformer.enable_group_offload(torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1)


def by_leaves(pipeline: SamaPipeline) -> None:
    pipeline.transformer.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")


def all_networks(pipeline: SamaPipeline) -> None:
    by_blocks(pipeline)
    apply_group_offloading(pipeline.vae, torch.device("cpu"), offload_type="leaf_level")
    apply_group_offloading(pipeline.text_encoder, torch.device("cpu"), offload_type="leaf_level")


@pytest.mark.parametrize("offload", [by_blocks, by_leaves, all_networks])
def test_group_offload_changes_nothing(pipeline: SamaPipeline, offload: Callable[[SamaPipeline], None]) -> None:
    plain = latents(pipeline, reuse=Reuse(text=False))
    offload(pipeline)
    assert pipeline.modes() == ("offload",)
    assert torch.equal(latents(pipeline), plain)
    with pytest.raises(CombinationError, match="offload excludes text"):
        latents(pipeline, reuse=Reuse())


def test_layers_that_lie_on_disk_until_they_are_called_change_nothing(pipeline: SamaPipeline, tmp_path: Path) -> None:
    """Elsewhere on a CPU an offloaded tensor keeps its numbers; on disk it is empty, so that reading it shows."""
    plain = latents(pipeline, reuse=Reuse(text=False))
    pipeline.transformer.enable_group_offload(
        torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=str(tmp_path)
    )
    assert torch.equal(latents(pipeline), plain)


def test_pictures_go_where_the_pipeline_computes_not_where_the_vae_waits(
    pipeline: SamaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `enable_model_cpu_offload`, which needs an accelerator: the meta device stands for it."""
    monkeypatch.setattr(SamaPipeline, "_execution_device", torch.device("meta"))
    seen: list[str] = []

    def encode(video: Tensor) -> None:
        seen.append(video.device.type)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.vae, "encode", encode)
    with pytest.raises(KeyboardInterrupt):
        pipeline.encode(FRAMES)
    assert (seen, pipeline.vae.device.type) == (["meta"], "cpu")
    networks = SamaPipeline.model_cpu_offload_seq.split("->")
    assert sorted(networks) == ["text_encoder", "transformer", "vae"]


def test_layerwise_casting_stays_near(pipeline: SamaPipeline) -> None:
    """Three bits of mantissa are kept of each weight of a linear layer: within a tenth."""
    plain = latents(pipeline)
    pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    cast = latents(pipeline)
    assert pipeline.transformer.blocks[0].ffn.net[2].weight.dtype == torch.float8_e4m3fn
    assert pipeline.transformer.segment_embedding.weight.dtype == torch.float32
    assert not torch.equal(cast, plain)
    assert near(cast, plain, 0.1)


def test_torchao_quantisation_stays_near(pipeline: SamaPipeline) -> None:
    """Eight bits a weight: within a twentieth."""
    plain = latents(pipeline)
    quantize_(pipeline.transformer.blocks, Int8WeightOnlyConfig())
    assert near(latents(pipeline), plain, 0.05)


# -- speed ------------------------------------------------------------------------------------------------------------


def test_the_repeated_block_compiles_as_one_graph_and_says_the_same(pipeline: SamaPipeline) -> None:
    plain = latents(pipeline)
    torch.compiler.reset()
    pipeline.transformer.compile_repeated_blocks(backend="aot_eager", fullgraph=True)
    assert near(latents(pipeline), plain, 1e-6)


def test_the_attention_back_end_can_be_switched(pipeline: SamaPipeline) -> None:
    plain = latents(pipeline)
    pipeline.transformer.set_attention_backend("_native_math")
    try:
        backends = {block.attn1.processor._attention_backend.value for block in pipeline.transformer.blocks}
        assert backends == {"_native_math"}
        assert near(latents(pipeline), plain, 1e-5)
    finally:
        pipeline.transformer.set_attention_backend("native")


def test_an_unknown_attention_back_end_is_answered_with_the_known_ones(pipeline: SamaPipeline) -> None:
    with pytest.raises(ValueError, match=r"fastest.*native"):
        pipeline.transformer.set_attention_backend("fastest")


def test_diffusers_block_cache_knows_the_block(pipeline: SamaPipeline) -> None:
    """A threshold of nothing computes every step, a huge one reuses what the middle and last block added."""
    plain = latents(pipeline, reuse=NOTHING)
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    assert near(latents(pipeline), plain, 1e-6)
    with pytest.raises(CombinationError, match="block_cache excludes shared_first, pruned_last"):
        latents(pipeline, reuse=Reuse())
    pipeline.transformer.disable_cache()
    calls: list[int] = []
    pipeline.transformer.blocks[1].ffn.register_forward_hook(lambda *_: calls.append(1))
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    cached = latents(pipeline)
    assert len(calls) == 1
    assert not torch.equal(cached, plain)
