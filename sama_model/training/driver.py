"""From nothing to weights: tokenizer, VAE, image encoder, stage 0, stage 1, and a folder that the editor loads.

FOLDER/{vae,image_encoder,stage_zero,stage_one}/      checkpoints of the parts
FOLDER/released/ weights/NAME/                        see `release`

Every part goes on from its newest checkpoint, and a finished one takes no time: the same call after a kill or a pause
ends in the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sama_model.errors import WeightsError
from sama_model.installed import InstalledWeights, read_card
from sama_model.training.adapters import merge
from sama_model.training.curriculum import Curriculum
from sama_model.training.image_encoder import trained_image_encoder
from sama_model.training.local_attention import begin_local
from sama_model.training.loop import Stop, Tell, adopt, never, seeded
from sama_model.training.release import released
from sama_model.training.together import Together
from sama_model.training.tokenizer import learned
from sama_model.training.trainer import Networks, train
from sama_model.training.vae import trained_vae
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.textures import every_texture
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import new_text_encoder

PARTS = ("vae", "image_encoder", "stage_zero", "stage_one")
"""As the progress names them, in their order."""


@dataclass(frozen=True)
class Built:
    """What came of it."""

    weights: Path
    """The folder of the weights; the one above it is a weights folder."""
    installed: InstalledWeights
    data: str
    """Digest of the examples."""


def build(curriculum: Curriculum, folder: Path, tell: Tell, stop: Stop = never) -> Built:
    """Trains what is not yet trained in `folder`, and writes the weights.

    Raises:
        PausedError: `stop` said so; the same call goes on.
        WeightsError: a checkpoint in it is damaged, or of another curriculum; or nothing can be compiled here, where
            a stage wants compiled blocks.
    """
    if curriculum.stage_zero.compile or curriculum.stage_one.compile:
        check_compiler(curriculum.name)
    networks = beginning(curriculum, folder, tell, stop)
    stages = (
        ("stage_zero", curriculum.zeroth(), curriculum.stage_zero),
        ("stage_one", curriculum.first(), curriculum.stage_one),
    )
    for part, examples, settings in stages:
        average = train(networks, examples, settings, folder / part, tell, stop, part)
        adopt(average, networks.trained(settings))
        if settings.lora_rank:
            merge(networks.transformer)
    together, weights = Together.here(), folder / "weights" / curriculum.name
    if together.first:
        released(networks, curriculum, folder)
    together.wait()
    return Built(weights, read_card(weights), curriculum.data())


def check_compiler(name: str) -> None:
    """Compiles one addition: better now than when the VAE is trained. Raises WeightsError where that cannot be done."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.compile(lambda values: values + 1)(torch.zeros(1, device=device))
    except RuntimeError as error:  # all of torch.compile's are
        said = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{name} compiles its blocks, and that cannot be done here ({said}): install g++ and Python's headers, or "
            "train with a copy of the curriculum that has compile = false"
        ) from error


def beginning(curriculum: Curriculum, folder: Path, tell: Tell, stop: Stop = never) -> Networks:
    """What stage 0 begins with: VAE and image encoder trained, text encoder and transformer new. Raises as `build`."""
    every_texture(WORLDS[curriculum.world])  # before processes part: each would make them for itself
    tokens = curriculum.transformer.semantic_dim
    return Networks(
        vae=trained_vae(curriculum.vae, curriculum.clips(), folder / "vae", tell, stop),
        anchors=trained_image_encoder(
            curriculum.image_encoder, tokens, curriculum.world, folder / "image_encoder", tell, stop
        ),
        tokenizer=learned(WORLDS[curriculum.world], curriculum.seed, curriculum.text_encoder.vocab),
        text_encoder=seeded(lambda: new_text_encoder(curriculum.text_encoder), curriculum.seed),
        transformer=seeded(lambda: new_transformer(curriculum), curriculum.seed),
    )


def new_transformer(curriculum: Curriculum) -> SamaTransformer3DModel:
    """Diffusers' default initialisation, but that it says nothing at first, a velocity of zero, and looks near by."""
    transformer: SamaTransformer3DModel = SamaTransformer3DModel.of(curriculum.transformer)
    begin_local(transformer)
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.semantic_head.proj.weight)
    return transformer
