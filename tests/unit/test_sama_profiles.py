"""Memory profiles: chosen by what is free, stepped down once, and approximations only by name."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sama_model import profiles
from sama_model.cards import RELEASED, approximations, card
from sama_model.config import Needs, Options, TransformerSizes
from sama_model.editors.base import EditRequest, unused_progress
from sama_model.editors.sama import SamaEditor, load_sama
from sama_model.errors import DeviceTooSmallError
from sama_model.pipeline import SamaPipeline
from sama_model.transformer import SamaTransformer3DModel
from tests.fakes.three_layers import FRAMES, THREE_LAYERS, latents, near, three_layers
from tests.unit.test_sama_transformer import inputs

GIB = 2**30
NEEDS = Needs(TransformerSizes(), transformer_bytes=28_601_000_000, vae_bytes=254_000_000, vae_width=96, itemsize=2)
CARD = dataclasses.replace(RELEASED, needs=NEEDS)
PEAKS = dict(CARD.peaks)


def test_each_profile_is_predicted_to_need_less_than_the_one_before() -> None:
    resident, streamed, small = (PEAKS[name] for name in profiles.EXACT_PROFILES)
    assert NEEDS.transformer_bytes < resident < 80 * GIB
    assert small < streamed < 24 * GIB


@pytest.mark.parametrize(
    ("free", "profile"), [(139, "resident"), (80, "resident"), (24, "streamed"), (None, "resident")]
)
def test_the_fastest_profile_that_fits_is_chosen(free: int | None, profile: str) -> None:
    assert profiles.chosen("auto", PEAKS, None if free is None else free * GIB) == profile


def test_a_profile_that_is_asked_for_is_taken() -> None:
    assert profiles.chosen("streamed_small", PEAKS, 139 * GIB) == "streamed_small"


def test_a_device_that_is_too_small_is_told_how_much_is_needed() -> None:
    with pytest.raises(DeviceTooSmallError, match=r"has 8\.0 GiB free, .*streamed_small.* need \d+\.\d GiB"):
        profiles.chosen("auto", PEAKS, 8 * GIB)


def test_approximations_are_predicted_to_need_less() -> None:
    peaks = {card.name: dict(card.peaks) for card in approximations(CARD)}
    eight_bits = 35 * 2 * 5120 * 13824
    assert peaks["14b"]["resident"] - peaks["14b+fp8"]["resident"] == eight_bits
    assert peaks["14b+tiled"] == peaks["14b"]  # the transformer needs more than the VAE, tiled or not


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


def test_a_second_time_it_is_the_devices_fault(editor: SamaEditor) -> None:
    editor.pipeline.transformer.siglip_feat_mlp.register_forward_pre_hook(out_of_memory(2))
    with pytest.raises(torch.OutOfMemoryError):
        editor.edit(request(), unused_progress)
    with pytest.raises(DeviceTooSmallError, match="streamed_small"):
        profiles.step_down(editor.pipeline, "streamed_small", torch.device("cpu"))


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
