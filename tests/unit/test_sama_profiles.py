"""Memory profiles: chosen by what is free, stepped down once, and approximations only by name."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig

from edits.job import ChunkFailure
from sama_model import profiles
from sama_model.cards import RELEASED, approximations, card
from sama_model.config import Needs, Options, TransformerSizes
from sama_model.editors.base import EditRequest, unused_progress
from sama_model.editors.sama import SamaEditor, load_sama
from sama_model.errors import DeviceTooSmallError
from sama_model.pipeline import SamaPipeline
from sama_model.reuse import CombinationError, Reuse
from sama_model.transformer import SamaTransformer3DModel
from tasks.exits import Exit, exit_code, translated
from tests.fakes.three_layers import FRAMES, THREE_LAYERS, latents, near, three_layers
from tests.unit.test_sama_transformer import inputs

pytestmark = pytest.mark.model

GIB = 2**30
NEEDS = Needs(TransformerSizes(), transformer_bytes=28_601_000_000, vae_bytes=507_600_000, vae_width=96, itemsize=2)
"""SAMA-14B's as released: the transformer in bfloat16, the VAE in float32."""
CARD = dataclasses.replace(RELEASED, needs=NEEDS)
PEAKS = dict(CARD.peaks)


def test_each_profile_is_predicted_to_need_less_than_the_one_before() -> None:
    resident, streamed, small = (PEAKS[name] for name in profiles.EXACT_PROFILES)
    assert NEEDS.transformer_bytes < resident < 80 * GIB
    assert small < streamed < 24 * GIB
    assert small < 12 * GIB


@pytest.mark.parametrize(
    ("free", "profile"),
    [(139, "resident"), (80, "resident"), (24, "streamed"), (12, "streamed_small"), (None, "resident")],
)
def test_the_fastest_profile_that_fits_is_chosen(free: int | None, profile: str) -> None:
    assert profiles.chosen("auto", CARD, None if free is None else free * GIB) == profile


def test_a_profile_that_is_asked_for_is_taken() -> None:
    assert profiles.chosen("streamed_small", CARD, 139 * GIB) == "streamed_small"


def test_a_device_that_is_too_small_is_told_how_much_is_needed() -> None:
    with pytest.raises(DeviceTooSmallError, match=r"has 8\.0 GiB free, .*streamed_small.* need \d+\.\d GiB"):
        profiles.chosen("auto", CARD, 8 * GIB)


def test_only_approximations_that_fit_are_offered_to_a_device_that_is_too_small() -> None:
    """A wide picture in a shallow network: the VAE decides, and only tiles help."""
    small = TransformerSizes(num_heads=4, num_layers=10)
    card = dataclasses.replace(CARD, needs=dataclasses.replace(NEEDS, transformer=small, transformer_bytes=GIB))
    whole, tiles = (dict(other.peaks)["streamed_small"] for other in approximations(card)[::2])
    with pytest.raises(
        DeviceTooSmallError, match=r"use a larger device or weights '14b\+tiled' or weights '14b\+fp8\+til"
    ):
        profiles.chosen("auto", card, whole)
    with pytest.raises(DeviceTooSmallError, match=r"use a larger device$"):
        profiles.chosen("auto", card, tiles)
    with pytest.raises(DeviceTooSmallError, match=r"use a larger device$"):
        profiles.chosen("auto", CARD, 8 * GIB)  # the transformer decides, and fp8 streams the same blocks


def test_the_vae_is_counted_in_its_own_dtype() -> None:
    half = dataclasses.replace(NEEDS, vae_bytes=NEEDS.vae_bytes // 2, vae_itemsize=2)
    (_, streamed), (_, in_half) = (dataclasses.replace(CARD, needs=needs).peaks[1] for needs in (NEEDS, half))
    assert streamed - in_half == NEEDS.vae_bytes // 2
    assert PEAKS["streamed_small"] > dict(dataclasses.replace(CARD, needs=half).peaks)["streamed_small"]


def test_approximations_are_predicted_to_need_less() -> None:
    peaks = {card.name: dict(card.peaks) for card in approximations(CARD)}
    eight_bits = 35 * 2 * 5120 * 13824
    assert peaks["14b"]["resident"] - peaks["14b+fp8"]["resident"] == eight_bits
    assert peaks["14b+tiled"]["streamed"] == peaks["14b"]["streamed"]  # the transformer needs more than the VAE


@pytest.fixture
def pipeline() -> SamaPipeline:
    return three_layers()


# -- stepping down ----------------------------------------------------------------------------------------------------


@pytest.fixture
def editor() -> SamaEditor:
    return load_sama(card("sama", "tiny"), Options(), ())


def request() -> EditRequest:
    return EditRequest(FRAMES, "make it snow", 0, card("sama", "tiny").recipes[0][1])


def out_of_memory(times: int) -> Any:
    """A hook that raises what torch raises, for the first `times` forwards."""
    left = [times]

    def hook(*_: object) -> None:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")

    return hook


def test_out_of_memory_begins_the_chunk_again_in_a_smaller_profile_with_the_same_result(editor: SamaEditor) -> None:
    plain = editor.edit(request(), unused_progress)
    editor.pipeline.transformer.siglip_feat_mlp.register_forward_pre_hook(out_of_memory(1))
    again = editor.edit(request(), unused_progress)
    assert editor.profile == "streamed"
    assert np.abs(again.astype(int) - plain).max() <= 1
    assert np.array_equal(editor.edit(request(), unused_progress), again)


def test_blocks_are_compiled_on_request_where_they_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "compile_blocks", partial(profiles.compile_blocks, backend="aot_eager"))

    def compiled(profile: str) -> set[bool]:
        loaded = load_sama(card("sama", "tiny"), Options(compile=True, profile=profile), ())
        return {block._compiled_call_impl is not None for block in loaded.pipeline.transformer.blocks}

    assert compiled("resident") == {True}
    assert compiled("streamed") == {False}


def test_a_compiled_editor_says_the_same_and_steps_down_uncompiled(editor: SamaEditor) -> None:
    plain = editor.edit(request(), unused_progress)
    profiles.compile_blocks(editor.pipeline, backend="aot_eager")
    assert np.abs(editor.edit(request(), unused_progress).astype(int) - plain).max() <= 1
    editor.pipeline.transformer.siglip_feat_mlp.register_forward_pre_hook(out_of_memory(1))
    assert np.abs(editor.edit(request(), unused_progress).astype(int) - plain).max() <= 1
    assert editor.profile == "streamed"


def test_a_second_time_it_is_the_devices_fault_and_a_smaller_profile_is_named(editor: SamaEditor) -> None:
    editor.pipeline.transformer.siglip_feat_mlp.register_forward_pre_hook(out_of_memory(2))
    with pytest.raises(DeviceTooSmallError, match=r"profile \(streamed\) did not fit .* profile = 'streamed_small'"):
        editor.edit(request(), unused_progress)


def test_in_the_smallest_profile_only_a_larger_device_helps() -> None:
    editor = load_sama(card("sama", "tiny"), Options(profile="streamed_small"), ())
    editor.pipeline.transformer.siglip_feat_mlp.register_forward_pre_hook(out_of_memory(1))
    with pytest.raises(
        DeviceTooSmallError, match=r"smallest .* \(streamed_small\) did not fit .*: use a larger device$"
    ) as told:
        editor.edit(request(), unused_progress)
    assert exit_code([ChunkFailure("key", translated(told.value).category, "", transient=True)]) == Exit.DEVICE_MEMORY
    with pytest.raises(DeviceTooSmallError, match=r"use a larger device$"):
        profiles.step_down(editor.pipeline, "streamed_small", torch.device("cpu"))


def test_memory_that_runs_out_while_weights_are_placed_is_said_as_well(
    pipeline: SamaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.vae, "to", out_of_memory(1))
    with pytest.raises(DeviceTooSmallError, match=r"profile \(resident\) did not fit .* profile = 'streamed'"):
        profiles.place(pipeline, "resident", torch.device("cpu"))


def test_streamed_small_computes_one_branch_after_the_other(pipeline: SamaPipeline) -> None:
    rows: list[int] = []
    pipeline.transformer.blocks[1].register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[0]))
    latents(pipeline)
    profiles.place(pipeline, "streamed_small", torch.device("cpu"))
    latents(pipeline)
    assert rows == [2] * 3 + [1] * 6
    assert set(pipeline.modes()) == {"offload", "branches_in_turn"}
    with pytest.raises(CombinationError, match="branches_in_turn excludes shared_first"):
        latents(pipeline, reuse=Reuse(text=False))
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    with pytest.raises(CombinationError, match="block cache"):
        pipeline.network()


@pytest.mark.parametrize("profile", profiles.EXACT_PROFILES)
def test_an_exact_profile_changes_nothing_beyond_rounding(pipeline: SamaPipeline, profile: str) -> None:
    plain = latents(pipeline)
    profiles.place(pipeline, profile, torch.device("cpu"))
    assert near(latents(pipeline), plain, 1e-6)


# -- approximations ---------------------------------------------------------------------------------------------------


def test_approximations_are_weights_of_other_numerics() -> None:
    found = {card.name: card.numerics for card in approximations(RELEASED)}
    assert found == {
        "14b": "bfloat16",
        "14b+fp8": "bfloat16+fp8",
        "14b+tiled": "bfloat16+tiled",
        "14b+fp8+tiled": "bfloat16+fp8+tiled",
    }
    assert {card.digest for card in approximations(dataclasses.replace(RELEASED, digest="d"))} == {"d"}


@torch.no_grad()
def test_fp8_holds_the_middle_blocks_feed_forward_weights_in_eight_bits_and_stays_near(pipeline: SamaPipeline) -> None:
    torch.manual_seed(0)
    sizes = dataclasses.replace(THREE_LAYERS, num_layers=7, text_dim=8, semantic_dim=20)
    network = SamaTransformer3DModel.of(sizes).eval()
    pipeline.register_modules(transformer=network)
    plain = network(**inputs()).video
    profiles.quantise_feed_forward(pipeline)
    kinds = [type(block.ffn.net[2].weight.data).__name__ for block in network.blocks]
    assert kinds == ["Tensor"] * 2 + ["Float8Tensor"] * 2 + ["Tensor"] * 3
    assert near(network(**inputs()).video, plain, 0.03)


def test_one_tile_is_the_whole_picture(pipeline: SamaPipeline) -> None:
    plain = pipeline.encode(FRAMES)
    profiles.tile_vae(pipeline)
    torch.testing.assert_close(pipeline.encode(FRAMES), plain, rtol=0, atol=0)
