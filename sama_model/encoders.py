"""Into and out of the transformer's spaces: prompts to text contexts, frames to latents, latents to frames.

prompt str --clean, tokenize--> ids, mask (1, 512) --umT5--> (1, 512, d) --zero the padded rows--> context
frames (T, H, W, 3) uint8 <-> video (1, 3, T, H, W) in [-1, 1] <-> latents (1, C, (T-1)/4+1, H/f, W/f), normalised
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ftfy
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.config import TEXT_TOKENS

PROMPT_PREFIX = "[Video edit]"
"""The released recipe: before every instruction, and alone as the negative prompt (models.md 1.1 step D)."""


# -- text -------------------------------------------------------------------------------------------------------------


def prompts_of(instruction: str) -> tuple[str, str]:
    """Positive and negative prompt of the released recipe. Wan's long negative prompt is not part of it."""
    return f"{PROMPT_PREFIX} {instruction}", PROMPT_PREFIX


def clean_prompt(prompt: str) -> str:
    """Mended Unicode, HTML entities resolved twice, white space collapsed; letter case is kept (step E)."""
    mended = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
    return re.sub(r"\s+", " ", mended).strip()


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder reads it."""

    ids: Tensor
    """(1, 512), the end mark last, zeros behind it."""
    mask: Tensor
    """(1, 512)."""
    cut: int
    """Tokens that did not fit; the official code cuts them as well and does not say so."""

    @classmethod
    def together(cls, prompts: Sequence[Tokens]) -> Tokens:
        """Several prompts': (B, 512) each."""
        ids, masks = ([getattr(each, name) for each in prompts] for name in ("ids", "mask"))
        return cls(torch.cat(ids), torch.cat(masks), sum(each.cut for each in prompts))


def tokenize(tokenizer: PreTrainedTokenizerBase, prompt: str) -> Tokens:
    """A cleaned prompt's tokens, at most 512 with the end mark."""
    text = clean_prompt(prompt)
    options: Any = {"padding": "max_length", "max_length": TEXT_TOKENS, "return_tensors": "pt"}
    whole: Any = tokenizer(text, **options)
    cut = max(0, whole["input_ids"].shape[1] - TEXT_TOKENS)
    batch: Any = tokenizer(text, truncation=True, **options) if cut else whole
    return Tokens(batch["input_ids"], batch["attention_mask"], cut)


def too_long(cut: int) -> str:
    """What is said of a prompt that was cut."""
    return f"the prompt is {cut} tokens longer than the {TEXT_TOKENS} that the text encoder reads"


def embed_tokens(encoder: UMT5EncoderModel, ids: Tensor, mask: Tensor) -> Tensor:
    """(B, 512) ids -> (B, 512, d). Valid rows never see padded ones."""
    hidden: Tensor = encoder(input_ids=ids.to(encoder.device), attention_mask=mask.to(encoder.device)).last_hidden_state
    return hidden


def text_context(embedding: Tensor, mask: Tensor) -> Tensor:
    """(B, 512, d) with the padded rows set to zero. All 512 rows are attended: there is no mask after this."""
    return embedding * mask.to(embedding)[..., None]


@dataclass(frozen=True)
class Context:
    """One encoded prompt."""

    rows: Tensor
    """(n, d) of the prompt's own tokens."""
    cut: int
    """Tokens that did not fit."""

    def padded(self) -> Tensor:
        """(1, 512, d), zeros below; all rows are attended."""
        full = self.rows.new_zeros(1, TEXT_TOKENS, self.rows.shape[1])
        full[0, : self.rows.shape[0]] = self.rows
        return full


def encode_prompt(tokenizer: PreTrainedTokenizerBase, encoder: UMT5EncoderModel, prompt: str) -> Context:
    """The context of one prompt. One at a time: the official code, given two, cuts both to the shorter."""
    tokens = tokenize(tokenizer, prompt)
    embedding = embed_tokens(encoder, tokens.ids, tokens.mask)
    return Context(embedding[0, : int(tokens.mask.sum())], tokens.cut)


# -- pixels -----------------------------------------------------------------------------------------------------------


def video_of(frames: npt.NDArray[np.uint8]) -> Tensor:
    """(T, H, W, 3) uint8 -> (1, 3, T, H, W) float32 in [-1, 1]."""
    return (torch.from_numpy(np.ascontiguousarray(frames)).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]


def deep_frames_of(video: Tensor) -> npt.NDArray[np.uint16]:
    """(1, 3, T, H, W) in [-1, 1] -> (T, H, W, 3) uint16 over its full scale: what the VAE says before it is 8 bits."""
    scaled = ((video[0].float().permute(1, 2, 3, 0) + 1) * 32767.5).round().clamp(0, 65535)
    return scaled.to(torch.int32).cpu().numpy().astype(np.uint16)


def frames_of(video: Tensor) -> npt.NDArray[np.uint8]:
    """(1, 3, T, H, W) in [-1, 1] -> (T, H, W, 3) uint8, as the official code rounds: towards zero after scaling."""
    scaled = ((video[0].float().permute(1, 2, 3, 0) + 1) * 127.5).clamp(0, 255)
    return scaled.to(torch.uint8).cpu().numpy()


def encode_video(vae: AutoencoderKLWan, video: Tensor) -> Tensor:
    """(1, 3, T, H, W), where the VAE computes, -> (1, C, t, h, w): the posterior's mean, normalised (models.md 5.3)."""
    mu: Tensor = vae.encode(video.to(vae.dtype)).latent_dist.mode()
    mean, std = latent_statistics(vae, mu)
    return (mu - mean) / std


def decode_latents(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """(1, C, t, h, w) normalised -> (1, 3, T, H, W) clamped to [-1, 1]."""
    latents = latents.to(vae.dtype)
    mean, std = latent_statistics(vae, latents)
    video: Tensor = vae.decode(latents * std + mean).sample
    return video


def latent_statistics(vae: AutoencoderKLWan, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, C, 1, 1, 1) that the transformer was trained with, in the dtype of `latents`."""
    mean, std = (
        torch.tensor(values, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std
