"""Trained networks as weights: files under the official names, and of them a folder by the way that SAMA-14B takes.

FOLDER/released/{transformer,text_encoder,vae}.safetensors, tokenizer/     bfloat16, official names
FOLDER/weights/NAME/...                                                    what `convert` makes of them
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file
from torch import nn

from sama_model.config import Geometry, Recipe, WeightsCard
from sama_model.convert import Released, convert
from sama_model.installed import InstalledWeights
from sama_model.keys import text_encoder_keys, transformer_keys, vae_keys
from sama_model.training.curriculum import Curriculum
from sama_model.training.trainer import Networks
from sama_model.training.world.rules import WORLDS
from sama_model.weights import LatentStatistics

EDITOR_VERSION = "1"
SHARD_BYTES = 13_000_000
"""Of a file at most: weights that ship lie in the repository."""


def released(networks: Networks, curriculum: Curriculum, folder: Path) -> InstalledWeights:
    """The weights of these networks, written anew: `folder` holds nothing that is not made again from checkpoints.

    Raises:
        WeightsError: a name that weights cannot have.
    """
    target = folder / "weights" / curriculum.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    return convert(
        official_files(networks, curriculum, folder / "released"),
        target,
        card_of(curriculum),
        heads=curriculum.transformer.num_heads,
        statistics=statistics_of(networks.vae),
        numerics="float32",
        shard_bytes=SHARD_BYTES,
    )


def official_files(networks: Networks, curriculum: Curriculum, folder: Path) -> Released:
    """The networks in bfloat16 under the released files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {
        "transformer": (networks.transformer, transformer_keys(curriculum.transformer.num_layers)),
        "text_encoder": (networks.text_encoder, text_encoder_keys(curriculum.text_encoder.num_layers)),
        "vae": (networks.vae, vae_keys(curriculum.vae.sizes)),
    }
    paths = {name: folder / f"{name}.safetensors" for name in keys}
    for name, (model, names) in keys.items():
        save_official(model, names, paths[name])
    networks.tokenizer.backend_tokenizer.no_truncation()  # as it was last used is no property of the weights
    networks.tokenizer.backend_tokenizer.no_padding()
    networks.tokenizer.save_pretrained(folder / "tokenizer")
    return Released(paths["transformer"], paths["text_encoder"], paths["vae"], folder / "tokenizer")


def save_official(model: nn.Module, keys: Mapping[str, str], path: Path) -> None:
    """The tensors that the key table names."""
    ours = model.state_dict()
    tensors = {name: ours[mine].to("cpu", torch.bfloat16).contiguous() for name, mine in keys.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def statistics_of(vae: AutoencoderKLWan) -> LatentStatistics:
    """Those that were measured after training."""
    return LatentStatistics(tuple(vae.config.latents_mean), tuple(vae.config.latents_std))


def card_of(curriculum: Curriculum) -> WeightsCard:
    """What can be asked of the weights; `convert` adds digest and needs."""
    rules, full = WORLDS[curriculum.world], curriculum.sampling
    return WeightsCard(
        name=curriculum.name,
        editor="sama",
        editor_version=EDITOR_VERSION,
        digest="",
        geometry=Geometry(rules.frames, curriculum.chunks.stride, curriculum.chunks.lead),
        buckets=((rules.width, rules.height),),
        max_pixels=rules.width * rules.height,
        numerics="float32",
        recipes=(("quality", full), ("balanced", Recipe(full.steps, full.guidance, full.shift, guided=0.5))),
        seconds_per_frame=curriculum.seconds_per_frame,
        reference_device=curriculum.reference_device,
    )
