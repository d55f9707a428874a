"""Prompts, contexts and pixels: what goes into the transformer's spaces and comes out of them."""

from __future__ import annotations

import numpy as np
import torch
from transformers import ByT5Tokenizer

from sama_model.config import VaeSizes
from sama_model.encoders import (
    clean_prompt,
    decode_latents,
    deep_frames_of,
    encode_video,
    frames_of,
    latent_statistics,
    prompts_of,
    text_context,
    tokenize,
    video_of,
)
from sama_model.tiny import tiny_tensors
from sama_model.weights import load_vae

# models.md 5.3
MEAN = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715]
STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526]


def test_the_negative_prompt_is_the_bare_prefix() -> None:
    assert prompts_of("make it snow") == ("[Video edit] make it snow", "[Video edit]")


def test_prompts_are_mended_and_their_white_space_collapsed_but_not_lowered() -> None:
    assert clean_prompt("  Make\tit \n &amp;quot;Blue&amp;quot;  schÃ¶n ") == 'Make it "Blue" schön'


def test_ids_end_with_the_end_mark_and_are_padded_with_zeros() -> None:
    tokens = tokenize(ByT5Tokenizer(extra_ids=0), "abc")
    assert tokens.ids.shape == tokens.mask.shape == (1, 512)
    assert tokens.ids[0, :5].tolist() == [100, 101, 102, 1, 0]
    assert (tokens.mask.sum(), tokens.cut) == (4, 0)


def test_a_prompt_that_the_encoder_cannot_read_whole_is_cut_before_its_end_mark() -> None:
    whole, cut = (tokenize(ByT5Tokenizer(extra_ids=0), "a" * count) for count in (511, 600))
    assert (whole.cut, cut.cut) == (0, 89)
    assert torch.equal(whole.ids, cut.ids)


def test_padded_rows_become_zero_and_the_others_stay() -> None:
    embedding = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    context = text_context(embedding, torch.tensor([[1, 1, 0, 0]]))
    assert torch.equal(context[:, :2], embedding[:, :2])
    assert context[:, 2:].abs().max() == 0


def test_frames_survive_the_way_to_a_video_and_back() -> None:
    """The official code cuts decimals off, so a value may come back one lower; it never comes back higher."""
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    back = frames_of(video_of(frames))
    assert video_of(frames).shape == (1, 3, 1, 16, 16)
    assert (frames.astype(int) - back).max() <= 1
    assert (frames.astype(int) - back).min() >= 0


def test_sixteen_bits_keep_what_eight_would_cut() -> None:
    levels = torch.linspace(-1, 1, 1000).reshape(1, 1, 1, 1, 1000).repeat(1, 3, 1, 1, 1)
    deep = deep_frames_of(levels)
    assert (deep.dtype, deep.shape) == (np.dtype(np.uint16), (1, 1, 1000, 3))
    assert len(np.unique(deep)) == 1000
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    assert np.array_equal(deep_frames_of(video_of(frames)), frames.astype(np.uint16) * 257)


def test_values_beyond_the_range_are_clamped() -> None:
    assert frames_of(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 1, 2)).ravel().tolist() == [0, 255]


def test_latents_are_the_normalised_mean_and_no_sample() -> None:
    sizes = VaeSizes(base_dim=14, dim_mult=(1, 1, 1), num_res_blocks=0, temporal_downsample=(True, True))
    vae = load_vae(tiny_tensors()["vae"], sizes, torch.float32)
    video = torch.rand(1, 3, 5, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = latent_statistics(vae, video)
    torch.testing.assert_close(mean.ravel()[:10], torch.tensor(MEAN))
    torch.testing.assert_close(std.ravel()[:10], torch.tensor(STD))
    latents = encode_video(vae, video)
    assert latents.shape == (1, 16, 2, 4, 4)
    torch.testing.assert_close(latents * std + mean, vae.encode(video).latent_dist.mean, rtol=0, atol=1e-5)
    assert decode_latents(vae, latents).shape == video.shape
