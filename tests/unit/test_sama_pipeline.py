"""The pipeline's own rules: what it refuses, and where its noise comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sama_model.cards import card
from sama_model.editors.sama import load_tiny
from sama_model.pipeline import SamaPipeline
from sama_model.sampling import generator_noise
from sama_model.tokens import Joint

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pipeline() -> SamaPipeline:
    pipeline = load_tiny(card("sama", "tiny").digest)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def edit(pipeline: SamaPipeline, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    latents: torch.Tensor = pipeline(FRAMES, "make it snow", num_inference_steps=2, generator=generator).latents
    return latents


def test_a_generator_decides_the_whole_result(pipeline: SamaPipeline) -> None:
    assert torch.equal(edit(pipeline, 1), edit(pipeline, 1))
    assert not torch.equal(edit(pipeline, 1), edit(pipeline, 2))


def test_a_generator_is_the_same_as_the_noise_that_it_draws(pipeline: SamaPipeline) -> None:
    noise = generator_noise(pipeline.latent_shape(FRAMES), 1152, torch.Generator().manual_seed(1))
    given = pipeline(FRAMES, "make it snow", num_inference_steps=2, noise=noise).latents
    assert torch.equal(given, edit(pipeline, 1))


def test_a_generator_and_noise_at_once_are_refused(pipeline: SamaPipeline) -> None:
    noise = generator_noise(pipeline.latent_shape(FRAMES), 1152, torch.Generator())
    with pytest.raises(ValueError, match="not both"):
        pipeline(FRAMES, "make it snow", noise=noise, generator=torch.Generator())


@pytest.mark.parametrize(("count", "remedy"), [(4, "pad it to 5 or cut it to 1"), (8, "pad it to 9 or cut it to 5")])
def test_a_frame_count_that_is_not_4k_plus_1_is_refused(pipeline: SamaPipeline, count: int, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        pipeline(np.zeros((count, 16, 24, 3), dtype=np.uint8), "make it snow")


def test_a_picture_that_is_no_whole_patches_is_refused(pipeline: SamaPipeline) -> None:
    with pytest.raises(ValueError, match="width must be a multiple of 8"):
        pipeline(np.zeros((5, 16, 20, 3), dtype=np.uint8), "make it snow")


NOISE = generator_noise((1, 16, 2, 4, 6), 1152, torch.Generator().manual_seed(0))
EMBEDS = torch.zeros(2, 512, 32)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"frames": FRAMES / 255.0}, "a uint8 array .*, not float64"),
        ({"frames": FRAMES.tolist()}, "a uint8 array .*, not list"),
        ({"frames": FRAMES[0]}, r"\(T, H, W, 3\), not \(16, 24, 3\)"),
        ({"frames": FRAMES[:0]}, r"at least one frame with pixels, not \(0, 16, 24, 3\)"),
        ({"size": (0, 16)}, r"both at least 1, not \(0, 16\)"),
        ({"size": (24.0, 16)}, "whole pixels, not"),
        ({"size": 24}, "whole pixels, not 24"),
        ({"num_inference_steps": 2.5}, "the number of steps is whole, not 2.5"),
        ({"num_inference_steps": "3"}, "the number of steps is whole, not '3'"),
        ({"guidance_scale": "5"}, "are numbers, not '5'"),
        ({"shift": float("nan")}, "shift is a finite number, not nan"),
        ({"generator": 7}, "a torch.Generator on the CPU, .*, not int"),
        ({"noise": torch.zeros(1)}, "a sama_model.tokens.Joint .*, not Tensor"),
        ({"noise": Joint(NOISE.video, NOISE.semantic[:, :3])}, r"semantic part is \(1, 65, 1152\), not \(1, 3, 1152\)"),
        (
            {"noise": Joint(NOISE.video[:, :7], NOISE.semantic)},
            r"video part is \(1, 16, 2, 4, 6\), not \(1, 7,",
        ),
        ({"prompt": "snow " * 600, "strict_prompts": True}, "tokens longer than the 512 .*: shorten it"),
        ({"prompt": ["make it snow"]}, "one text, not list"),
        ({"prompt_embeds": EMBEDS}, "not both"),
        ({"prompt": None, "prompt_embeds": EMBEDS[:1]}, r"are \(2, 512, 32\), .* not \(1, 512, 32\)"),
        ({"prompt": None, "prompt_embeds": EMBEDS[..., :7]}, r"are \(2, 512, 32\), .* not \(2, 512, 7\)"),
        ({"prompt": None}, "give a prompt"),
        ({"guidance_scale": float("nan")}, "guidance is a finite number, not nan"),
        ({"guidance_scale": float("inf")}, "guidance is a finite number, not inf"),
        ({"step_cache": -0.1}, "not negative, not -0.1"),
        ({"fit": "stretch"}, "no fit 'stretch'"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_a_sentence(
    pipeline: SamaPipeline, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        pipeline(**{"frames": FRAMES, "prompt": "make it snow", "num_inference_steps": 1} | given)


def test_an_edit_that_is_not_finite_is_an_error_and_no_black_picture(pipeline: SamaPipeline) -> None:
    given = {"prompt": None, "prompt_embeds": EMBEDS * float("nan")}
    with pytest.raises(ValueError, match="latents of the edit are not all finite"):
        pipeline(frames=FRAMES, num_inference_steps=1, **given)


def test_frames_may_be_a_view_that_runs_backwards(pipeline: SamaPipeline) -> None:
    view = FRAMES[..., ::-1]  # BGR, as OpenCV reads it, to RGB
    assert torch.equal(pipeline.encode(view), pipeline.encode(view.copy()))


def test_the_instruction_changes_the_result(pipeline: SamaPipeline) -> None:
    night = pipeline(FRAMES, "turn day into night", num_inference_steps=2, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(night.latents, edit(pipeline, 1))
