"""Into and out of the transformer's spaces: prompts to text contexts, frames to latents, latents to frames.

prompt str --clean, tokenize--> ids, mask (1, 512) --umT5--> (1, 512, d) --zero the padded rows--> context
frames (T, H, W, 3) uint8 <-> video (1, 3, T, H, W) in [-1, 1] <-> latents (1, C, (T-1)/4+1, H/f, W/f), normalised
"""

from __future__ import annotations

import html
import re
from typing import Any

import ftfy
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.config import TEXT_TOKENS
from sama_model.editors.base import InstructionError

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


def token_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> tuple[Tensor, Tensor]:
    """Ids and mask (1, 512) of a cleaned prompt: the end mark appended, zeros behind it.

    Raises:
        InstructionError: more than 512 tokens. The official code cuts there and does not say so.
    """
    batch: Any = tokenizer(clean_prompt(prompt), padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt")
    count = batch["input_ids"].shape[1]
    if count > TEXT_TOKENS:
        raise InstructionError(
            f"the instruction is {count} tokens long with its prefix, the text encoder reads {TEXT_TOKENS}: shorten it"
        )
    return batch["input_ids"], batch["attention_mask"]


def embed_tokens(encoder: UMT5EncoderModel, ids: Tensor, mask: Tensor) -> Tensor:
    """(B, 512) ids -> (B, 512, d). Valid rows never see padded ones."""
    hidden: Tensor = encoder(input_ids=ids.to(encoder.device), attention_mask=mask.to(encoder.device)).last_hidden_state
    return hidden


def text_context(embedding: Tensor, mask: Tensor) -> Tensor:
    """(B, 512, d) with the padded rows set to zero. All 512 rows are attended: there is no mask after this."""
    return embedding * mask.to(embedding)[..., None]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, encoder: UMT5EncoderModel, prompt: str) -> Tensor:
    """(1, 512, d) context of one prompt."""
    ids, mask = token_ids(tokenizer, prompt)
    return text_context(embed_tokens(encoder, ids, mask), mask)


# -- pixels -----------------------------------------------------------------------------------------------------------


def video_of(frames: npt.NDArray[np.uint8]) -> Tensor:
    """(T, H, W, 3) uint8 -> (1, 3, T, H, W) float32 in [-1, 1]."""
    return (torch.from_numpy(frames).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]


def frames_of(video: Tensor) -> npt.NDArray[np.uint8]:
    """(1, 3, T, H, W) in [-1, 1] -> (T, H, W, 3) uint8, as the official code rounds: towards zero after scaling."""
    scaled = ((video[0].float().permute(1, 2, 3, 0) + 1) * 127.5).clamp(0, 255)
    return scaled.to(torch.uint8).cpu().numpy()


def encode_video(vae: AutoencoderKLWan, video: Tensor) -> Tensor:
    """(1, 3, T, H, W) -> (1, C, t, h, w): the posterior's mean, never a sample, normalised (models.md 5.3)."""
    mu: Tensor = vae.encode(video.to(vae.device, vae.dtype)).latent_dist.mode()
    mean, std = latent_statistics(vae)
    return (mu - mean) / std


def decode_latents(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """(1, C, t, h, w) normalised -> (1, 3, T, H, W) clamped to [-1, 1]."""
    mean, std = latent_statistics(vae)
    video: Tensor = vae.decode(latents.to(vae.dtype) * std + mean).sample
    return video


def latent_statistics(vae: AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, C, 1, 1, 1) that the transformer's latents were normalised with."""
    mean, std = (
        torch.tensor(values, dtype=vae.dtype, device=vae.device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std
