"""Conversion of released files: what comes out, streaming, and every way in which files can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ByT5Tokenizer, T5TokenizerFast

from sama_model.cards import CARDS, RELEASED, card
from sama_model.config import Options, TransformerSizes
from sama_model.convert import Released, convert, packed
from sama_model.editors import load
from sama_model.errors import WeightsError
from sama_model.folders import check_network, describe, network_digest
from sama_model.installed import BUILT_IN, installed, read_card
from sama_model.keys import sama_keys, transformer_keys
from sama_model.pipeline import SamaPipeline
from sama_model.tensorfiles import StoredTensor, open_file
from sama_model.tiny import TRANSFORMER, tiny_tensors
from sama_model.weights import LatentStatistics, digest_of, empty_transformer

RELEASED_BYTES = 28_601_809_776
"""Size of sama_14b_ema.safetensors (models.md 1.1, 'Checkpoint keys')."""


@pytest.fixture(scope="module")
def tensors() -> dict[str, dict[str, Tensor]]:
    return tiny_tensors()


@pytest.fixture
def files(tmp_path: Path, tensors: dict[str, dict[str, Tensor]]) -> Released:
    """The weights `tiny` as files under the released names."""
    folder = tmp_path / "released"
    folder.mkdir()
    save_file(tensors["transformer"], folder / "sama_14b_ema.safetensors")
    torch.save(tensors["text_encoder"], folder / "models_t5_umt5-xxl-enc-bf16.pth")
    torch.save(tensors["vae"], folder / "Wan2.1_VAE.pth")
    ByT5Tokenizer(extra_ids=0).save_pretrained(folder / "umt5-xxl")
    return Released(
        transformer=folder / "sama_14b_ema.safetensors",
        text_encoder=folder / "models_t5_umt5-xxl-enc-bf16.pth",
        vae=folder / "Wan2.1_VAE.pth",
        tokenizer=folder / "umt5-xxl",
    )


def shards(folder: Path, tensors: dict[str, Tensor], count: int) -> tuple[Path, ...]:
    """`tensors` dealt out to numbered files, as Wan's are."""
    names = sorted(tensors)
    paths = [folder / f"diffusion_pytorch_model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    for i, path in enumerate(paths):
        save_file({name: tensors[name] for name in names[i::count]}, path)
    return tuple(paths)


def plain_wan(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in sama_keys()}


# -- the full network -------------------------------------------------------------------------------------------------


def test_the_released_file_has_exactly_the_size_that_the_key_table_and_the_configuration_make() -> None:
    """A safetensors file is 8 bytes, a JSON header padded to whole words, and the tensors, in bfloat16 here."""
    sizes = TransformerSizes()
    keys, ours = transformer_keys(sizes.num_layers), empty_transformer(sizes).state_dict()
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in sorted(keys):
        shape = list(ours[keys[name]].shape)
        end = offset + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    assert 8 + -(-len(text) // 8) * 8 + offset == RELEASED_BYTES


# -- what comes out ---------------------------------------------------------------------------------------------------


def test_a_converted_folder_holds_every_tensor_in_small_shards_and_a_card(
    tmp_path: Path, files: Released, tensors: dict[str, dict[str, Tensor]]
) -> None:
    written: list[tuple[int, int]] = []
    weights = convert(
        files, tmp_path / "small", heads=3, shard_bytes=200_000, progress=lambda *step: written.append(step)
    )
    folder = tmp_path / "small"
    index = json.loads((folder / "transformer/diffusion_pytorch_model.safetensors.index.json").read_text())
    names = sorted(set(index["weight_map"].values()))
    found = {name: tensor for file in names for name, tensor in load_file(folder / "transformer" / file).items()}
    keys = transformer_keys(TRANSFORMER.num_layers)
    assert len(names) > 2
    assert digest_of(found) == digest_of({keys[name]: tensor for name, tensor in tensors["transformer"].items()})
    assert weights.parts["transformer"] == network_digest(folder / "transformer", check_network(folder / "transformer"))
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "SamaPipeline"
    assert written[-1][0] == written[-1][1] == sum(t.nbytes for part in tensors.values() for t in part.values())
    assert read_card(folder) == weights
    assert installed(tmp_path).weights == {"small": weights}


def test_the_card_has_the_released_facts_the_folders_name_and_the_files_digest(tmp_path: Path, files: Released) -> None:
    card = convert(files, tmp_path / "mine", heads=3).card
    assert card == replace(RELEASED, name="mine", digest=card.digest, numerics="float32", needs=card.needs)
    assert len(card.buckets) == 15
    assert (card.geometry.chunk_frames, card.geometry.stride, card.geometry.lead) == (81, 64, 4)
    assert len(card.digest) == 64
    again = convert(files, tmp_path / "again", heads=3, shard_bytes=10_000).card
    assert again.digest == card.digest


def test_wans_shards_and_samas_tensors_over_them_make_the_same_network(
    tmp_path: Path, files: Released, tensors: dict[str, dict[str, Tensor]]
) -> None:
    whole = convert(files, tmp_path / "whole", heads=3)
    base = shards(tmp_path, plain_wan(tensors["transformer"]), 6)
    own = {name: tensor for name, tensor in tensors["transformer"].items() if name in sama_keys()}
    save_file(own | {"head.head.bias": tensors["transformer"]["head.head.bias"]}, files.transformer)
    assert convert(replace(files, base=base), tmp_path / "both", heads=3).parts == whole.parts


def test_a_dtype_that_is_asked_for_is_written_and_is_another_digest(tmp_path: Path, files: Released) -> None:
    card = convert(files, tmp_path / "half", heads=3, dtype=torch.bfloat16).card
    assert card.numerics == "bfloat16"
    vae = open_file(tmp_path / "half" / "vae" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in vae.values()} == {torch.bfloat16}
    assert card.digest != convert(files, tmp_path / "full", heads=3).card.digest


def test_shards_are_filled_in_the_order_of_names_and_one_large_tensor_is_a_shard_of_its_own() -> None:
    sizes = {"a": 3, "b": 3, "c": 9, "d": 1}
    stored = {name: StoredTensor(Path(), (n,), torch.float32, lambda: torch.empty(0)) for name, n in sizes.items()}
    assert list(packed(stored, itemsize=1, shard_bytes=6)) == [["a", "b"], ["c"], ["d"]]


def head_width(folder: Path) -> None:
    edit_config(folder / "transformer", num_heads=6, head_dim=16)


def latents(folder: Path) -> None:
    edit_config(folder / "vae", latents_std=[2.0] * 16)


def another_token(folder: Path) -> None:
    path = folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"</s>"', '"<s>"'))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "part"), [(head_width, "transformer"), (latents, "vae"), (another_token, "tokenizer")]
)
def test_files_of_the_same_shapes_that_say_something_else_are_found_by_their_digest(
    change: Callable[[Path], None], part: str, tmp_path: Path, files: Released
) -> None:
    weights = convert(files, tmp_path / "small", heads=3)
    describe(tmp_path / "small", verify=weights.parts)
    change(tmp_path / "small")
    describe(tmp_path / "small")
    with pytest.raises(WeightsError, match=f"{part}: digest .*, the card says"):
        describe(tmp_path / "small", verify=weights.parts)
    if part == "tokenizer":
        describe(tmp_path / "small", weights.configs)
        return
    with pytest.raises(WeightsError, match=rf"{part}/config\.json: was changed since the weights were converted"):
        describe(tmp_path / "small", weights.configs)
    with pytest.raises(WeightsError, match="was changed since"):
        load("sama", "small", Options(weights_folder=tmp_path))


@pytest.mark.parametrize(
    ("network", "changes"), [("transformer", {"num_heads": "many"}), ("text_encoder", {"num_layers": "x"})]
)
def test_a_configuration_that_makes_no_network_is_a_sentence(
    network: str, changes: dict[str, Any], tmp_path: Path, files: Released
) -> None:
    convert(files, tmp_path / "small", heads=3)
    edit_config(tmp_path / "small" / network, **changes)
    with pytest.raises(WeightsError, match=f"{network}: its configuration cannot be read"):
        describe(tmp_path / "small")
    (tmp_path / "small" / network / "config.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"config\.json: cannot be read"):
        describe(tmp_path / "small")


def test_a_folder_without_its_index_is_no_pipeline(tmp_path: Path, files: Released) -> None:
    convert(files, tmp_path / "small", heads=3)
    (tmp_path / "small" / "model_index.json").unlink()
    for look in (describe, SamaPipeline.from_pretrained):
        with pytest.raises(WeightsError, match=r"model_index\.json: not there"):
            look(tmp_path / "small")


def test_other_heads_and_other_statistics_are_other_weights(tmp_path: Path, files: Released) -> None:
    usual = convert(files, tmp_path / "usual", heads=3)
    heads = convert(files, tmp_path / "heads", heads=6)
    flat = LatentStatistics((0.0,) * 16, (1.0,) * 16)
    statistics = convert(files, tmp_path / "statistics", heads=3, statistics=flat)
    assert len({weights.card.digest for weights in (usual, heads, statistics)}) == 3
    assert heads.parts["vae"] == usual.parts["vae"]
    edit_config(tmp_path / "usual" / "vae", _diffusers_version="0.0.0")
    describe(tmp_path / "usual", verify=usual.parts)


# -- what is wrong ----------------------------------------------------------------------------------------------------


def truncate(files: Released, tensors: dict[str, Tensor]) -> Released:
    files.transformer.write_bytes(files.transformer.read_bytes()[:-100])
    return files


def without_the_eleven(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file(plain_wan(tensors), files.transformer)
    return files


def without_one_of_the_eleven(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file({n: t for n, t in tensors.items() if n != "siglip_feat_mlp.fc1.weight"}, files.transformer)
    return files


def renamed_shard(files: Released, tensors: dict[str, Tensor]) -> Released:
    paths = shards(files.transformer.parent, plain_wan(tensors), 6)
    paths[2].rename(paths[2].with_name("part3.safetensors"))
    return replace(files, base=(*paths[:2], paths[2].with_name("part3.safetensors"), *paths[3:]))


def shard_under_anothers_name(files: Released, tensors: dict[str, Tensor]) -> Released:
    paths = shards(files.transformer.parent, plain_wan(tensors), 6)
    paths[3].write_bytes(paths[2].read_bytes())
    return replace(files, base=paths)


def mixed_dtypes(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file(tensors | {"head.head.bias": tensors["head.head.bias"].bfloat16()}, files.transformer)
    return files


def whole_numbers(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file(tensors | {"head.head.bias": torch.ones(64, dtype=torch.int8)}, files.transformer)
    return files


def no_numbers(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file(tensors | {"head.head.bias": torch.full((64,), torch.nan)}, files.transformer)
    return files


def flat_patches(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file(tensors | {"patch_embedding.weight": torch.zeros(96, 64)}, files.transformer)
    return files


def sparse(files: Released, tensors: dict[str, Tensor]) -> Released:
    torch.save({"encoder.conv1.weight": torch.eye(3).to_sparse()}, files.vae)
    return files


def no_tokenizer(files: Released, tensors: dict[str, Tensor]) -> Released:
    return replace(files, tokenizer=files.tokenizer / "absent")


def another_folder(files: Released, tensors: dict[str, Tensor]) -> Released:
    return replace(files, tokenizer=files.transformer.parent)


def no_vocabulary(files: Released, tensors: dict[str, Tensor]) -> Released:
    T5TokenizerFast(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]).save_pretrained(files.tokenizer)
    (files.tokenizer / "tokenizer.json").unlink()
    return files


def the_eleven_alone(files: Released, tensors: dict[str, Tensor]) -> Released:
    save_file({name: tensors[name] for name in sama_keys()}, files.transformer)
    return files


def truncated_pickle(files: Released, tensors: dict[str, Tensor]) -> Released:
    files.vae.write_bytes(files.vae.read_bytes()[:-500])
    return files


def swapped(files: Released, tensors: dict[str, Tensor]) -> Released:
    return replace(files, vae=files.text_encoder, text_encoder=files.vae)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"sama_14b_ema\.safetensors: not a whole safetensors file"),
        (
            without_the_eleven,
            r"sama_14b_ema\.safetensors: 11 of the 11 .* missing \(segment_embedding\.weight, .*norm\.weight\): "
            r"this is plain Wan; give SAMA's own file too",
        ),
        (without_one_of_the_eleven, r"1 of the 11 .* missing \(siglip_feat_mlp\.fc1\.weight\): fetch the file again"),
        (renamed_shard, r"5 of 6 shards of diffusion_pytorch_model were given, missing are .*-00003-of-00006"),
        (shard_under_anothers_name, r"-00004-of-00006\.safetensors: .* stand in .*-00003-of-00006"),
        (mixed_dtypes, r"the transformer mixes dtypes, .*--dtype .*: 1 bfloat16: proj_out\.bias|\d+ float32: "),
        (whole_numbers, r"the transformer has tensors in int8, which weights are not in: proj_out\.bias"),
        (no_numbers, r"sama_14b_ema\.safetensors: proj_out\.bias holds numbers that are not finite"),
        (flat_patches, r"'patch_embedding\.weight' is \(96, 64\): a tensor of 5 sides"),
        (sparse, r"Wan2\.1_VAE\.pth: holds more than named tensors"),
        (no_tokenizer, r"absent: no such folder; give the folder of the tokenizer google/umt5-xxl"),
        (another_folder, r"released: not a folder with a tokenizer's files.*\([^()]*\)$"),
        (no_vocabulary, r"umt5-xxl: the tokenizer does not know the words '\[Video edit\]': .*tokenizer\.json"),
        (the_eleven_alone, r"holds the 11 tensors that SAMA adds to Wan and nothing of Wan: .*--wan"),
        (truncated_pickle, r"Wan2\.1_VAE\.pth: not a whole file of plain tensors \([^.]*\); fetch it again$"),
        (swapped, r"Wan2\.1_VAE\.pth: .*token_embedding\.weight"),
    ],
)
def test_files_that_are_wrong_are_named_and_nothing_is_written(
    damage: Callable[[Released, dict[str, Tensor]], Released],
    message: str,
    tmp_path: Path,
    files: Released,
    tensors: dict[str, dict[str, Tensor]],
) -> None:
    wrong = damage(files, tensors["transformer"])
    with pytest.raises(WeightsError, match=message):
        convert(wrong, tmp_path / "small", heads=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["released"]


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path, files: Released) -> None:
    (tmp_path / "small").mkdir()
    with pytest.raises(WeightsError, match="is there already"):
        convert(files, tmp_path / "small", heads=3)


def test_a_name_that_rows_could_not_write_is_refused(tmp_path: Path, files: Released) -> None:
    taken = {"tiny": "built in", "builtin": "built in"}
    for name, problem in (taken | {"14b+mine": "cannot be the name", "a.partial": "at the end"}).items():
        with pytest.raises(WeightsError, match=problem):
            convert(files, tmp_path / name, heads=3)
    assert {name for _, name in CARDS} == set(BUILT_IN)


def test_a_card_that_is_damaged_or_under_another_name_spoils_its_own_weights_only(
    tmp_path: Path, files: Released
) -> None:
    convert(files, tmp_path / "small", heads=3)
    shutil.copytree(tmp_path / "small", tmp_path / "other")
    with pytest.raises(WeightsError, match="the card of 'small'"):
        card("sama", "other", tmp_path)
    (tmp_path / "other" / "card.json").write_text("{}")
    with pytest.raises(WeightsError, match="not a weights' card"):
        card("sama", "other+fp8", tmp_path)
    assert card("sama", "small+fp8", tmp_path).name == "small+fp8"
    assert list(installed(tmp_path).broken) == ["other"]


def test_a_folder_under_a_built_in_name_takes_nothing_from_what_is_built_in(tmp_path: Path, files: Released) -> None:
    convert(files, tmp_path / "small", heads=3)
    text = (tmp_path / "small" / "card.json").read_text().replace('"small"', '"tiny"')
    (tmp_path / "small").rename(tmp_path / "tiny")
    (tmp_path / "tiny" / "card.json").write_text(text)
    assert card("sama", "tiny", tmp_path) == card("sama", "tiny")


def renamed_file(folder: Path) -> None:
    path = next(folder.glob("*-00002-of-*.safetensors"))
    path.rename(path.with_name(f"{path.stem} (1).safetensors"))


def lost_index(folder: Path) -> None:
    (folder / "diffusion_pytorch_model.safetensors.index.json").unlink()


def damaged_index(folder: Path) -> None:
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            renamed_file,
            r"transformer: .*-00002-of-\d+\.safetensors is missing; .*\(1\)\.safetensors belongs to no network",
        ),
        (lost_index, r"transformer: diffusion_pytorch_model\.safetensors is missing; "),
        (damaged_index, r"index\.json: not an index of files"),
    ],
)
def test_a_converted_folder_whose_files_changed_their_names_is_not_whole(
    damage: Callable[[Path], None], message: str, tmp_path: Path, files: Released
) -> None:
    convert(files, tmp_path / "small", heads=3, shard_bytes=200_000)
    damage(tmp_path / "small" / "transformer")
    for look in (describe, SamaPipeline.from_pretrained):
        with pytest.raises(WeightsError, match=message):
            look(tmp_path / "small")
