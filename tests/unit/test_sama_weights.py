"""Strict loading: key tables that cover the networks exactly, and errors that name what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sama_model.config import TextEncoderSizes, TransformerSizes, VaeSizes
from sama_model.errors import WeightsError
from sama_model.keys import sama_keys, text_encoder_keys, transformer_keys, vae_keys
from sama_model.sizes import text_encoder_sizes, transformer_sizes, vae_sizes
from sama_model.tensorfiles import read_tensors
from sama_model.tiny import TEXT_ENCODER, TRANSFORMER, VAE, tiny_tensors
from sama_model.weights import (
    digest_of,
    empty_text_encoder,
    empty_transformer,
    empty_vae,
    load_text_encoder,
    load_transformer,
    load_vae,
)
from sama_model.wording import listed

SMALL_VAE = VaeSizes(base_dim=8, num_res_blocks=1)


@pytest.fixture(scope="module")
def tiny() -> dict[str, dict[str, Tensor]]:
    return tiny_tensors()


# -- key tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [SMALL_VAE, VAE, VaeSizes(base_dim=4)])
def test_the_vae_table_names_every_tensor_once(sizes: VaeSizes) -> None:
    keys = vae_keys(sizes)
    assert sorted(keys.values()) == sorted(empty_vae(sizes).state_dict())


def test_the_text_encoder_table_names_every_tensor_but_the_tied_one() -> None:
    keys = text_encoder_keys(TEXT_ENCODER.num_layers)
    ours = set(empty_text_encoder(TEXT_ENCODER).state_dict())
    assert ours - set(keys.values()) == {"encoder.embed_tokens.weight"}
    assert len(set(keys.values())) == len(keys)


def test_the_full_14b_has_the_released_number_of_tensors_and_parameters() -> None:
    sizes = TransformerSizes()
    keys, model = transformer_keys(sizes.num_layers), empty_transformer(sizes)
    assert len(keys) == 1095 + 11
    assert sorted(keys.values()) == sorted(model.state_dict())
    assert sum(p.numel() for p in model.parameters()) == 14_288_491_584 + 12_355_968


def test_the_official_third_norm_is_diffusers_second() -> None:
    assert transformer_keys(1)["blocks.0.norm3.weight"] == "blocks.0.norm2.weight"


def test_modulations_of_block_and_head_are_not_confused() -> None:
    keys = transformer_keys(1)
    assert keys["head.modulation"] == "scale_shift_table"
    assert keys["blocks.0.modulation"] == "blocks.0.scale_shift_table"


# -- sizes ------------------------------------------------------------------------------------------------------------


def meta(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def official(model: torch.nn.Module, keys: dict[str, str]) -> dict[str, Tensor]:
    ours = model.state_dict()
    return meta({name: tuple(ours[mine].shape) for name, mine in keys.items()})


@pytest.mark.parametrize("sizes", [SMALL_VAE, VaeSizes()])
def test_the_vae_tells_its_sizes(sizes: VaeSizes) -> None:
    assert vae_sizes(official(empty_vae(sizes), vae_keys(sizes))) == sizes


@pytest.mark.parametrize("sizes", [TEXT_ENCODER, TextEncoderSizes()])
def test_the_text_encoder_tells_its_sizes(sizes: TextEncoderSizes) -> None:
    assert text_encoder_sizes(official(empty_text_encoder(sizes), text_encoder_keys(sizes.num_layers))) == sizes


def test_the_transformer_tells_its_sizes_but_for_the_heads() -> None:
    full = TransformerSizes(num_layers=2)
    assert transformer_sizes(official(empty_transformer(full), transformer_keys(2))) == full
    tensors = official(empty_transformer(TRANSFORMER), transformer_keys(1))
    assert transformer_sizes(tensors, num_heads=3) == TRANSFORMER
    with pytest.raises(WeightsError, match=r"96 wide, which 7 heads do not divide into even widths: .*--heads"):
        transformer_sizes(tensors, num_heads=7)
    with pytest.raises(WeightsError, match=r"96 wide, which is no multiple of 128, .*: give --heads"):
        transformer_sizes(tensors)


def test_a_file_of_another_network_is_refused_by_name(tiny: dict[str, dict[str, Tensor]]) -> None:
    with pytest.raises(WeightsError, match=r"patch_embedding\.weight"):
        transformer_sizes(tiny["vae"])
    with pytest.raises(WeightsError, match=r"encoder\.conv1\.weight"):
        vae_sizes(tiny["transformer"])
    with pytest.raises(WeightsError, match=r"encoder\.downsamples"):
        vae_sizes({"encoder.conv1.weight": torch.zeros(8, 3, 3, 3, 3)})


# -- strictness -------------------------------------------------------------------------------------------------------


def test_missing_unexpected_and_misshapen_tensors_are_all_named(tiny: dict[str, dict[str, Tensor]]) -> None:
    tensors = dict(tiny["transformer"])
    del tensors["semantic_head.proj.weight"]
    tensors["blocks.0.self_attn.qq.weight"] = torch.zeros(1)
    tensors["head.head.bias"] = torch.zeros(63)
    with pytest.raises(WeightsError) as caught:
        load_transformer(tensors, TRANSFORMER, torch.float32)
    message = str(caught.value)
    assert "1 missing: semantic_head.proj.weight" in message
    assert "1 unexpected: blocks.0.self_attn.qq.weight" in message
    assert "1 wrong shape: head.head.bias (63,) instead of (64,)" in message


def test_plain_wan_weights_without_the_extra_eleven_are_refused(tiny: dict[str, dict[str, Tensor]]) -> None:
    own = ("segment_embedding.", "siglip_feat_mlp.", "semantic_head.")
    plain = {name: tensor for name, tensor in tiny["transformer"].items() if not name.startswith(own)}
    with pytest.raises(WeightsError, match="11 missing"):
        load_transformer(plain, TRANSFORMER, torch.float32)


def test_the_other_two_networks_are_as_strict(tiny: dict[str, dict[str, Tensor]]) -> None:
    with pytest.raises(WeightsError, match="AutoencoderKLWan"):
        load_vae(tiny["vae"] | {"extra": torch.zeros(1)}, VAE, torch.float32)
    with pytest.raises(WeightsError, match="UMT5EncoderModel"):
        load_text_encoder({}, TEXT_ENCODER, torch.float32)


def test_every_name_is_listed_those_of_the_blocks_as_one() -> None:
    sizes = TransformerSizes(num_layers=40)
    tensors = official(empty_transformer(sizes), transformer_keys(40))
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("ffn.0.bias")}
    kept["blocks.39.ffn.0.bias"] = tensors["blocks.39.ffn.0.bias"]
    with pytest.raises(WeightsError, match=r"39 missing: blocks\.\{0-38\}\.ffn\.0\.bias$"):
        load_transformer(kept, sizes, torch.float32)
    with pytest.raises(WeightsError, match=r"1095 missing|1106 missing") as told:
        load_transformer({}, sizes, torch.float32)
    assert "more" not in str(told.value)
    assert all(name in str(told.value) for name in sama_keys())
    assert listed(["blocks.7.b", "blocks.1.b", "blocks.2.b", "b", "blocks.2.a"]) == ("b, blocks.2.a, blocks.{1-2,7}.b")
    assert listed(f"{n}" for n in range(203)).endswith(" and 3 more")


def test_a_loaded_network_has_the_tensors_dtype_asked_for_and_no_gradients(tiny: dict[str, dict[str, Tensor]]) -> None:
    model = load_transformer(tiny["transformer"], TRANSFORMER, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training


def test_the_text_encoders_embedding_is_one_tensor(tiny: dict[str, dict[str, Tensor]]) -> None:
    encoder = load_text_encoder(tiny["text_encoder"], TEXT_ENCODER, torch.float32)
    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight


# -- files ------------------------------------------------------------------------------------------------------------


def test_both_kinds_of_file_give_the_tensors_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pth")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pth"):
        assert digest_of(read_tensors(path)) == digest_of(tensors)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.pth", None),
        ("text.pth", b"not a pickle"),
        ("empty.pth", b""),
        ("text.safetensors", b"not one either, but long enough to hold a header length"),
        ("empty.safetensors", b""),
        ("weights.ckpt", b"x"),
        ("hostile.pth", pickle.dumps({"a": Hostile()}, protocol=2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_whole_weights_is_named(
    name: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_tensors(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pth"):
        path = tmp_path / name
        tensors = {"a": torch.zeros(1000)}
        save_file(tensors, path) if name.endswith("safetensors") else torch.save(tensors, path)
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(WeightsError, match="not a whole"):
            read_tensors(path)


def test_a_pickle_of_other_things_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="epoch"):
        read_tensors(tmp_path / "w.pth")


def test_the_digest_depends_on_names_shapes_dtypes_and_values_but_not_on_order() -> None:
    a, b = torch.arange(4.0), torch.ones(2)
    whole = digest_of({"a": a, "b": b})
    assert whole == digest_of({"b": b, "a": a})
    others = [{"a": b, "b": a}, {"a": a.reshape(2, 2), "b": b}, {"a": a, "b": b.half()}, {"a": a + 1, "b": b}]
    assert len({whole, *(digest_of(other) for other in others)}) == 5
