"""Both stages: a transformer, and in stage 0 the text encoder with it, learns what the velocity of an edit is."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderKLWan
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.config import TEXT_TOKENS
from sama_model.encoders import Tokens, embed_tokens, encode_video, text_context
from sama_model.reuse import NOTHING, Memory, Reuse
from sama_model.tokens import Joint
from sama_model.training.adapters import adapt
from sama_model.training.batches import Batch, Batches, pixels
from sama_model.training.data import Examples
from sama_model.training.loop import Stop, Tell, fit, never
from sama_model.training.losses import changed, losses, noised, shifted_sigmas
from sama_model.training.settings import TrainingSettings
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import digest_of

FEWER_ROWS = Reuse(source=False, text=False, padding=True, times=False, shared_first=False, pruned_last=True, head=True)
"""What a processor need not compute to train: the padding of the texts, and rows that no loss reads. A GPU would wait
for the lengths of the texts longer than it computes their padding."""


class AnchorEncoder(Protocol):
    """A frozen image encoder's 64 pooled tokens of each frame and its global one."""

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, N, H, W, 3) uint8 -> (B, N * 65, semantic_dim)."""

    def to(self, device: torch.device) -> object:
        """Moves it there."""


@dataclass(frozen=True)
class Networks:
    """What is trained and what it is trained with."""

    transformer: SamaTransformer3DModel
    text_encoder: UMT5EncoderModel
    vae: AutoencoderKLWan
    """Frozen."""
    tokenizer: PreTrainedTokenizerBase
    anchors: AnchorEncoder
    """Frozen."""

    def freeze(self, settings: TrainingSettings) -> None:
        """Only the transformer has gradients, or factors beside it, and the text encoder where it is trained.

        umT5's dropout stays off: it would draw from a generator whose state is lost with the process.
        """
        self.vae.requires_grad_(False).eval()
        self.text_encoder.requires_grad_(settings.train_text).eval()
        self.transformer.requires_grad_(True).train()
        if settings.lora_rank:
            adapt(self.transformer, settings.lora_rank, settings.seed)
        if settings.gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        else:
            self.transformer.disable_gradient_checkpointing()
        if settings.compile:
            self.transformer.compile_repeated_blocks(dynamic=False)

    def digest(self) -> str:
        """Of every parameter, in 64 hex digits: what a stage begins with decides what comes of it as its settings do.

        Statistics that are measured on a trained network follow from it; a GPU may round them otherwise the next time.
        """
        everything = nn.ModuleDict({"transformer": self.transformer, "text_encoder": self.text_encoder})
        everything["vae"] = self.vae
        if isinstance(self.anchors, nn.Module):
            everything["anchors"] = self.anchors
        return digest_of(dict(everything.named_parameters()))

    def trained(self, settings: TrainingSettings) -> nn.ModuleDict:
        """One module of all that is trained."""
        modules: dict[str, nn.Module] = {"transformer": self.transformer}
        if settings.train_text:
            modules["text_encoder"] = self.text_encoder
        return nn.ModuleDict(modules)


def train(
    networks: Networks,
    examples: Examples,
    settings: TrainingSettings,
    run: Path,
    tell: Tell,
    stop: Stop = never,
    part: str = "stage",
) -> EMAModel:
    """Trains `networks` in place from the newest checkpoint of `run` on, and returns the average of what was trained.

    Raises as `loop.fit`.
    """
    data = f"{examples!r} networks {networks.digest()}"
    networks.freeze(settings)
    return fit(Stage(networks, examples, settings, part, data), settings, run, tell, stop)


@dataclass(frozen=True)
class Stage:
    """Stage 0 or 1 as the loop sees it."""

    networks: Networks
    examples: Examples
    settings: TrainingSettings
    part: str
    data: str
    """The examples, and the networks as they were at the beginning: a checkpoint of others is none of this stage."""

    @cached_property
    def module(self) -> nn.ModuleDict:
        return self.networks.trained(self.settings)

    @cached_property
    def vae(self) -> AutoencoderKLWan:
        """What shows the clips to the transformer; see `lowered`."""
        return lowered(self.networks.vae) if self.settings.mixed_precision == "bf16" else self.networks.vae

    @property
    def draw(self) -> Batches:
        return Batches(self.examples, self.settings, self.networks.tokenizer)

    def place(self, device: torch.device) -> None:
        self.vae.to(device)
        self.networks.text_encoder.to(device)
        self.networks.anchors.to(device)

    def losses(self, content: Batch) -> Mapping[str, Tensor]:
        """What the networks say of a batch, against what they should."""
        networks, settings = self.networks, self.settings
        device = self.vae.device
        with torch.no_grad():
            both = torch.cat([clip.to(device, non_blocking=True) for clip in (content.source, content.target)])
            source, target = encode_video(self.vae, pixels(both)).chunk(2)
            data = Joint(target.float(), networks.anchors(content.anchors.to(device, non_blocking=True)).float())
        noise = Joint(*content.noise.like(data.video, data.semantic))
        sigmas = shifted_sigmas(content.u.to(device), settings.shift)
        at = noised(data, noise, sigmas)
        contexts = contexts_of(networks, content.prompts)
        memory = Memory(FEWER_ROWS if device.type == "cpu" else NOTHING)
        said = networks.transformer(at.video, source.float(), at.semantic, sigmas * 1000, contexts, memory)
        places = changed(source, target, settings.changed_share) if settings.changed_share else None
        found = losses(said, data, noise, settings.semantic_target, settings.semantic_weight, places)
        return {"total": found.total, "flow": found.flow, "semantic": found.semantic}


def lowered(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """A copy in bfloat16, as it is released, that lies in memory as convolutions read it: it says the same to rounding.

    Its products are in bfloat16 in any case; so it needs not be cast at every step, and takes a CPU half of the time.
    """
    copy: AutoencoderKLWan = deepcopy(vae)
    for parameter in copy.parameters():
        form = {4: torch.channels_last, 5: torch.channels_last_3d}.get(parameter.dim(), torch.contiguous_format)
        parameter.data = parameter.data.to(torch.bfloat16, memory_format=form)
    return copy


def contexts_of(networks: Networks, prompts: Tokens) -> Tensor:
    """(B, 512, d), the padded rows zero as in inference; the encoder is only shown as many as the longest prompt has.

    No valid row sees a padded one, so that these need not be computed.
    """
    longest = int(prompts.mask.sum(dim=1).max())
    ids, mask = prompts.ids[:, :longest], prompts.mask[:, :longest]
    embedded = embed_tokens(networks.text_encoder, ids, mask).float()
    filled = text_context(embedded, mask.to(networks.text_encoder.device))
    return nn.functional.pad(filled, (0, 0, 0, TEXT_TOKENS - longest))
