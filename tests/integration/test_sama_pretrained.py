"""A pipeline that was saved is loaded by its name alone: the same bits, in a fresh process, from another folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sama_model.cards import card
from sama_model.editors.sama import load_tiny
from sama_model.errors import WeightsError
from sama_model.pipeline import SamaPipeline
from sama_model.transformer import SamaTransformer3DModel

pytestmark = pytest.mark.model

LOAD_AND_EDIT = """
import hashlib, sys
import numpy as np, torch
from sama_model.pipeline import SamaPipeline
torch.set_num_threads(1)
pipeline = SamaPipeline.from_pretrained(sys.argv[1])
pipeline.set_progress_bar_config(disable=True)
frames = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
edit = pipeline(frames, "make it snow", num_inference_steps=2, generator=torch.Generator().manual_seed(1))
print(hashlib.sha256(edit.latents.numpy().tobytes() + edit.frames.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    load_tiny(card("sama", "tiny").digest).save_pretrained(folder)
    return folder


def test_a_fresh_process_in_another_folder_gives_the_same_bits(saved: Path, tmp_path: Path) -> None:
    pipeline = load_tiny(card("sama", "tiny").digest)
    pipeline.set_progress_bar_config(disable=True)
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    edit = pipeline(frames, "make it snow", num_inference_steps=2, generator=torch.Generator().manual_seed(1))
    ours = hashlib.sha256(edit.latents.numpy().tobytes() + edit.frames.tobytes()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_EDIT, str(saved)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ours), done.stderr


def test_a_folder_that_lacks_a_tensor_is_refused_instead_of_filled_with_random_numbers(saved: Path) -> None:
    path = saved / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    tensors = load_file(path)
    del tensors["semantic_head.proj.weight"]
    try:
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=r"transformer: .*1 missing: semantic_head\.proj\.weight"):
            SamaPipeline.from_pretrained(saved)
    finally:
        path.write_bytes(whole)


def test_a_lora_or_a_variant_is_not_saved_where_it_would_not_be_found_again(saved: Path, tmp_path: Path) -> None:
    pipeline = SamaPipeline.from_pretrained(saved)
    for options in ({"variant": "fp16"}, {"safe_serialization": False}):
        with pytest.raises(ValueError, match="saved as safetensors and without a variant"):
            pipeline.save_pretrained(tmp_path / "copy", **options)
    layer = "diffusion_model.blocks.0.self_attn.q"
    factors = {f"{layer}.lora_A.weight": torch.ones(2, 96), f"{layer}.lora_B.weight": torch.ones(96, 2)}
    pipeline.load_lora_weights(factors)
    with pytest.raises(ValueError, match="a LoRA is loaded: fuse_lora and unload_lora_weights before"):
        pipeline.save_pretrained(tmp_path / "copy")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(tmp_path / "copy")
    merged = SamaPipeline.from_pretrained(tmp_path / "copy").transformer.blocks[0].attn1.to_q.weight
    before = SamaPipeline.from_pretrained(saved).transformer.blocks[0].attn1.to_q.weight
    torch.testing.assert_close(merged, before + 2)


def test_the_transformer_alone_is_as_strict(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    shutil.copytree(saved / "transformer", folder)
    whole, info = SamaTransformer3DModel.from_pretrained(folder, output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"], whole.dtype) == ([], [], torch.float32)
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["another.weight"] = tensors.pop("semantic_head.proj.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 missing: semantic_head\.proj\.weight; 1 unexpected: another\.weight"):
        SamaTransformer3DModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "options", "error", "sentence"),
    [
        (lambda folder: shutil.rmtree(folder / "tokenizer"), {}, WeightsError, "tokenizer: no tokenizer_config.json"),
        (
            lambda folder: (folder / "tokenizer" / "tokenizer_config.json").write_text("{"),
            {},
            WeightsError,
            "tokenizer: not a folder with a tokenizer's files",
        ),
        (lambda folder: (folder / "lora.safetensors").touch(), {}, WeightsError, "holds a LoRA and no networks"),
        (shutil.rmtree, {}, WeightsError, "no such folder; .*nothing is fetched from a hub"),
        (lambda folder: None, {"variant": "fp16"}, ValueError, "no variants"),
    ],
)
def test_a_folder_that_is_no_whole_pipeline_is_refused_in_a_sentence(
    saved: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    options: dict[str, str],
    error: type[Exception],
    sentence: str,
) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    change(tmp_path / "copy")
    with pytest.raises(error, match=sentence):
        SamaPipeline.from_pretrained(tmp_path / "copy", **options)


def test_the_files_dtype_is_kept_unless_another_is_asked_for(saved: Path, tmp_path: Path) -> None:
    SamaPipeline.from_pretrained(saved, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    assert SamaTransformer3DModel.from_pretrained(tmp_path / "half" / "transformer").dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"as torch\.bfloat16, .*, not 'float16'"):
        SamaPipeline.from_pretrained(saved, dtype="float16")
    loaded = SamaPipeline.from_pretrained(tmp_path / "half")
    kinds = (loaded.transformer, loaded.text_encoder, loaded.vae)
    assert {p.dtype for model in kinds for p in model.parameters()} == {torch.bfloat16}


def test_a_pipeline_without_a_text_encoder_is_saved_and_loaded(saved: Path, tmp_path: Path) -> None:
    without = SamaPipeline.from_pretrained(saved, text_encoder=None, tokenizer=None)
    without.save_pretrained(tmp_path / "without")
    loaded = SamaPipeline.from_pretrained(tmp_path / "without")
    assert (without.text_encoder, loaded.text_encoder, loaded.tokenizer) == (None, None, None)
    assert loaded.transformer.dtype == torch.float32
    shutil.rmtree(tmp_path / "without" / "vae")
    with pytest.raises(WeightsError, match="vae: no safetensors files"):
        SamaPipeline.from_pretrained(tmp_path / "without")


def test_a_folder_without_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model_index\.json: not there"):
        SamaPipeline.from_pretrained(tmp_path)
