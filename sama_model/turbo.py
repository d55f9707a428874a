"""Weights of their own made of others and a LoRA: a folder with a card and the LoRA's file, nothing copied."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

from sama_model.cards import PRESETS, TURBO
from sama_model.errors import WeightsError
from sama_model.folders import empty_network
from sama_model.installed import (
    CARD_FILE,
    LORA_FILE,
    InstalledWeights,
    Lora,
    card_json,
    check_name,
    folder_of,
    read_card,
    sha256_of,
    written_aside,
)
from sama_model.lora import check_lora, warn_left_out
from sama_model.pipeline import SamaPipeline
from sama_model.tensorfiles import read_tensors


def add_lora(base: Path, lora: Path, scale: float, target: Path) -> InstalledWeights:
    """The folder `target` beside `base`: its weights with the LoRA at this scale, and presets without guidance.

    Nothing is said about what it looks like: a LoRA that was distilled on plain Wan may lose the edit.

    Raises:
        WeightsError: a name that is taken or cannot be one, a scale that is not finite, no such file, one that is
            damaged or for another network, weights that have a LoRA already or lie elsewhere, or a folder that is there
            already.
    """
    check_name(target.name)
    if not math.isfinite(scale):
        raise WeightsError(f"a LoRA is added at a finite scale, not {scale}; 1.0 adds it as it was trained")
    under = read_card(base)
    if under.lora is not None:
        raise WeightsError(f"'{base.name}' is '{under.base}' with a LoRA already: name '{under.base}' instead")
    if folder_of(base.name, target.parent).resolve() != base.resolve():
        raise WeightsError(
            f"{base}: a LoRA finds the weights under it by their name, in {target.parent}: move the folder there first"
        )
    if target.exists():
        raise WeightsError(f"{target} is there already: remove it, or take another name")
    if lora.suffix != ".safetensors":
        raise WeightsError(f"{lora}: a LoRA is read from a .safetensors file, not from '{lora.suffix}'")
    _check_fits(lora, base)
    digest = sha256_of(lora)
    whole = hashlib.sha256(json.dumps([under.card.digest, digest, scale]).encode()).hexdigest()
    card = replace(
        under.card,
        name=target.name,
        digest=whole,
        recipes=(*TURBO.items(), *PRESETS.items()),
        loras=f"lora@{scale:g} {digest}",
        reference_device=f"{under.card.reference_device}; for a LoRA estimated by the number of forwards",
        seconds_per_frame=under.card.seconds_per_frame * TURBO["turbo"].steps / (2 * PRESETS["quality"].steps),
    )
    installed = InstalledWeights(card, under.parts, under.configs, base.name, Lora(digest, scale))
    with written_aside(target) as aside:
        shutil.copyfile(lora, aside / LORA_FILE)
        (aside / CARD_FILE).write_bytes(card_json(installed))
    return installed


def _check_fits(lora: Path, base: Path) -> None:
    """Hold the LoRA's tensors against the network that it is for, before anybody waits for 28 GB to load."""
    tensors = read_tensors(lora)
    warn_left_out(tensors)
    try:
        check_lora(SamaPipeline.lora_state_dict(tensors), empty_network(base / "transformer"))
    except WeightsError as error:
        raise WeightsError(f"{lora}: {error}") from error
