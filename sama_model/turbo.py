"""Weights of their own made of others and a LoRA: a folder with a card and the LoRA's file, nothing copied."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from sama_model.cards import PRESETS, TURBO
from sama_model.errors import WeightsError
from sama_model.installed import CARD_FILE, InstalledWeights, Lora, card_json, check_name, read_card

LORA_FILE = "lora.safetensors"


def add_lora(base: Path, lora: Path, scale: float, target: Path) -> InstalledWeights:
    """The folder `target` beside `base`: its weights with the LoRA at this scale, and presets without guidance.

    Nothing is said about what it looks like: a LoRA that was distilled on plain Wan may lose the edit.

    Raises:
        WeightsError: no such file, or a folder that is there already.
    """
    check_name(target.name)
    under = read_card(base)
    if target.exists():
        raise WeightsError(f"{target} is there already: remove it, or take another name")
    if not lora.is_file() or lora.suffix != ".safetensors":
        raise WeightsError(f"{lora}: no such LoRA; give the path of a .safetensors file")
    with lora.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256(json.dumps([under.card.digest, digest, scale]).encode()).hexdigest()
    card = replace(
        under.card,
        name=target.name,
        digest=whole,
        recipes=(*TURBO.items(), *PRESETS.items()),
        seconds_per_frame=under.card.seconds_per_frame * TURBO["turbo"].steps / (2 * PRESETS["quality"].steps),
    )
    installed = InstalledWeights(card, under.parts, base.name, Lora(digest, scale))
    aside = target.with_name(f"{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    shutil.copyfile(lora, aside / LORA_FILE)
    (aside / CARD_FILE).write_bytes(card_json(installed))
    aside.rename(target)
    return installed
