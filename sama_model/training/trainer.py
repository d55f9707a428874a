"""The loop of both stages: examples in, better networks out, going on where a killed run left off.

A step's numbers follow from the settings, the examples and the step: no state of a random generator is carried over. On
one device a resumed run therefore ends in the same bits as one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKLWan
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.encoders import embed_tokens, encode_video, text_context, tokenize
from sama_model.tokens import Joint
from sama_model.training import checkpoints
from sama_model.training.batches import Batch, batch_of, noise_like, step_generator
from sama_model.training.data import Bad, Examples, Frames, gathered
from sama_model.training.losses import Losses, losses, noised, shifted_sigmas
from sama_model.training.settings import TrainingSettings
from sama_model.transformer import SamaTransformer3DModel

AnchorEncoder = Callable[[Frames], Tensor]
"""(B, N, H, W, 3) uint8 -> (B, N * 65, semantic_dim): a frozen image encoder's 64 pooled tokens and its global one."""


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
        """Only the transformer has gradients, and the text encoder where it is trained.

        umT5's dropout stays off: it would draw from a generator whose state is lost with the process.
        """
        self.vae.requires_grad_(False).eval()
        self.text_encoder.requires_grad_(settings.train_text).eval()
        self.transformer.requires_grad_(True).train()
        if settings.gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()

    def trained(self, settings: TrainingSettings) -> nn.ModuleDict:
        """One module of all that is trained."""
        modules: dict[str, nn.Module] = {"transformer": self.transformer}
        if settings.train_text:
            modules["text_encoder"] = self.text_encoder
        return nn.ModuleDict(modules)


@dataclass(frozen=True)
class Progress:
    """One step's figures."""

    step: int
    flow: float
    semantic: float
    gradient: float
    """Norm before it was clipped."""
    bad: tuple[Bad, ...]


def train(
    networks: Networks, examples: Examples, settings: TrainingSettings, run: Path, tell: Callable[[Progress], None]
) -> EMAModel:
    """Trains `networks` in place from the newest checkpoint of `run` on, and returns the average of what was trained.

    Raises:
        ValueError: more processes than one, whose gradients nothing here would bring together.
        WeightsError: a checkpoint of other settings or examples, or a damaged one.
        BadExampleError: a step of which no example can be trained on.
    """
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    if accelerator.num_processes > 1:
        raise ValueError(
            f"training runs in one process so far, not in {accelerator.num_processes}: start it without torchrun"
        )
    networks.freeze(settings)
    networks.vae.to(accelerator.device)
    networks.text_encoder.to(accelerator.device)
    module = networks.trained(settings)
    parameters = list(module.parameters())
    adamw = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    module, optimizer = accelerator.prepare(module, adamw)
    average = EMAModel(parameters, decay=settings.ema_decay)
    accelerator.register_for_checkpointing(average)
    name = f"{settings.digest()} {examples!r}"
    found = checkpoints.newest(run, name)
    first = 0
    if found is not None:
        accelerator.load_state(str(found[0]))
        first = found[1].step
    for step in range(first, settings.steps):
        tell(one_step(accelerator, optimizer, networks, examples, settings, step))
        average.step(parameters)
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            checkpoints.write(run, step + 1, name, lambda folder: accelerator.save_state(str(folder)))
    return average


def one_step(
    accelerator: Any,
    optimizer: Any,
    networks: Networks,
    examples: Examples,
    settings: TrainingSettings,
    step: int,
) -> Progress:
    """Examples, loss, gradient, update."""
    first = step * settings.batch
    found = gathered(examples, range(first, first + settings.batch))
    batch = batch_of(found.good, settings, step_generator(settings, step))
    with accelerator.autocast():
        loss = batch_losses(networks, batch, settings)
    accelerator.backward(loss.total)
    trained = [each for group in optimizer.param_groups for each in group["params"]]
    norm = accelerator.clip_grad_norm_(trained, settings.clip)
    for group in optimizer.param_groups:
        group["lr"] = settings.rate_at(step)
    optimizer.step()
    optimizer.zero_grad()
    return Progress(step, loss.flow.item(), loss.semantic.item(), float(norm), found.bad)


def batch_losses(networks: Networks, batch: Batch, settings: TrainingSettings) -> Losses:
    """What the networks say of a batch, against what they should."""
    device = networks.vae.device
    with torch.no_grad():
        source = encode_video(networks.vae, batch.source.to(device))
        target = encode_video(networks.vae, batch.target.to(device))
        data = Joint(target, networks.anchors(batch.anchors).to(device))
    noise = noise_like(data, batch.noise_seed)
    sigmas = shifted_sigmas(batch.u.to(device), settings.shift)
    at = noised(data, noise, sigmas)
    contexts = contexts_of(networks, batch.prompts)
    said = networks.transformer(at.video, source, at.semantic, sigmas * 1000, contexts)
    return losses(said, data, noise, settings.semantic_target, settings.semantic_weight)


def contexts_of(networks: Networks, prompts: tuple[str, ...]) -> Tensor:
    """(B, 512, d), the padded rows zero as in inference."""
    tokens = [tokenize(networks.tokenizer, prompt) for prompt in prompts]
    ids, mask = torch.cat([each.ids for each in tokens]), torch.cat([each.mask for each in tokens])
    return text_context(embed_tokens(networks.text_encoder, ids, mask), mask.to(networks.text_encoder.device))
