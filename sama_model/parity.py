"""How far this implementation is from the official one: a recording is played again and every tensor compared.

A golden folder holds the official files (`sama_dit.safetensors`, `Wan2.1_VAE.pth`, `models_t5_umt5.pth`), the run's
settings (`golden.json`) and what the official code computed (`tensors.safetensors`). The run is played end to end in
float32, each stage on this implementation's own results of the stage before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import UMT5EncoderModel

from sama_model import sizes, weights
from sama_model.config import Recipe
from sama_model.encoders import decode_latents, embed_tokens, encode_video, frames_of, text_context, video_of
from sama_model.errors import WeightsError
from sama_model.guidance import Conditions
from sama_model.reuse import Memory, Reuse
from sama_model.sampling import denoise
from sama_model.schedule import flow_schedule
from sama_model.tensorfiles import read_tensors
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel

EXACT = ("sigmas", "timesteps")
"""Compared as the largest absolute difference; nothing but 0 will do."""

LEVELS = "edited_frames"
"""Compared as the largest difference in 8-bit levels."""


@dataclass(frozen=True)
class Golden:
    """A golden folder, read."""

    settings: dict[str, Any]
    recorded: dict[str, Tensor]
    transformer: SamaTransformer3DModel
    vae: AutoencoderKLWan
    text_encoder: UMT5EncoderModel


def limit(name: str) -> float:
    """The largest error of the tensor `name` with which this implementation still counts as the same."""
    if name.startswith(EXACT):
        return 0.0
    return {LEVELS: 1.0, "decoded": 1e-4}.get(name, 1e-5)


@torch.no_grad()
def compare(folder: Path, reuse: Reuse = Reuse()) -> dict[str, float]:  # noqa: B008 - frozen
    """Error by tensor name: ||ours - recorded|| / ||recorded||, but see `EXACT` and `LEVELS`.

    Raises:
        WeightsError: a file or a tensor of the golden folder is missing or damaged.
    """
    golden = read_golden(folder)
    try:
        errors = compare_schedules(golden) | compare_run(golden, reuse)
    except KeyError as error:
        raise WeightsError(f"{folder}: the recording lacks {error}; it is not a whole golden folder") from error
    return dict(sorted(errors.items()))


def read_golden(folder: Path) -> Golden:
    """The recording and the three networks, float32 on the CPU. Raises WeightsError like `compare`."""
    path = folder / "golden.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        heads = int(settings["config"]["num_heads"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: cannot be read as the settings of a recording ({error!r})") from error
    transformer, vae, text = (
        read_tensors(folder / name) for name in ("sama_dit.safetensors", "Wan2.1_VAE.pth", "models_t5_umt5.pth")
    )
    return Golden(
        settings=settings,
        recorded=read_tensors(folder / "tensors.safetensors"),
        transformer=weights.load_transformer(transformer, sizes.transformer_sizes(transformer, heads), torch.float32),
        vae=weights.load_vae(vae, sizes.vae_sizes(vae), torch.float32),
        text_encoder=weights.load_text_encoder(text, sizes.text_encoder_sizes(text), torch.float32),
    )


def compare_schedules(golden: Golden) -> dict[str, float]:
    """The run's schedule, and the tables of other settings, which are printed to 8 decimals."""
    run, recorded = golden.settings["run"], golden.recorded
    schedule = flow_schedule(int(run["steps"]), float(run["shift"]))
    errors = {
        "sigmas": largest_difference(schedule.sigmas[:-1], recorded["sigmas"]),
        "timesteps": largest_difference(schedule.timesteps, recorded["timesteps"]),
        "timesteps[first]": largest_difference(schedule.timesteps[:1], recorded["first_timestep"]),
    }
    for name, printed in golden.settings["sigmas"].items():
        steps, shift = (part.split("=")[1] for part in name.split(","))
        ours = [round(sigma, 8) for sigma in flow_schedule(int(steps), float(shift)).sigmas[:-1].tolist()]
        errors[f"sigmas[{name}]"] = largest_difference(torch.tensor(ours), torch.tensor(printed))
    return errors


def compare_run(golden: Golden, reuse: Reuse) -> dict[str, float]:
    """The recorded edit, stage by stage, with these savings."""
    run, recorded = golden.settings["run"], golden.recorded
    mask = recorded["text_mask"]
    embedding = embed_tokens(golden.text_encoder, recorded["text_ids"], mask)
    context = text_context(embedding, mask)
    source = encode_video(golden.vae, video_of(recorded["source_frames"].numpy()))
    conditions = Conditions(source=source, contexts=context)
    noise = Joint(video=recorded["noise"], semantic=recorded["semantic_noise"])

    states: list[Joint] = []
    recipe = Recipe(int(run["steps"]), float(run["cfg"]), float(run["shift"]))
    edit = denoise(golden.transformer, noise, conditions, recipe, lambda i, state: states.append(state), reuse)
    decoded = decode_latents(golden.vae, edit.video)
    ours = {
        "text_embedding": embedding,
        "context_positive": context[:1],
        "context_negative": context[1:],
        "source_latents": source,
        "semantic_tokens_in": golden.transformer.siglip_feat_mlp(noise.semantic),
        "latents_after_step_1": states[0].video,
        "semantic_after_step_1": states[0].semantic,
        "final_latents": edit.video,
        "final_semantic": edit.semantic,
        "decoded": decoded,
    } | first_velocities(golden.transformer, noise, conditions, recorded["first_timestep"], reuse)
    errors = {name: relative_error(tensor, recorded[name]) for name, tensor in ours.items()}
    frames = torch.from_numpy(frames_of(decoded))
    return errors | {LEVELS: largest_difference(frames.int(), recorded["edited_frames"].int())}


def first_velocities(
    transformer: SamaTransformer3DModel, noise: Joint, conditions: Conditions, timestep: Tensor, reuse: Reuse
) -> dict[str, Tensor]:
    """What the network says at the first step, with and without the instruction."""
    memory = Memory(reuse, timestep)
    said = transformer(noise.video, conditions.source, noise.semantic, timestep, conditions.contexts, memory)
    positive, negative = said.row(0), said.row(1)
    return {
        "velocity_positive": positive.video,
        "velocity_negative": negative.video,
        "semantic_velocity_positive": positive.semantic,
        "semantic_velocity_negative": negative.semantic,
    }


def relative_error(ours: Tensor, recorded: Tensor) -> float:
    """||ours - recorded|| / ||recorded||; a tensor of another shape is infinitely far."""
    if ours.shape != recorded.shape:
        return float("inf")
    return float((ours - recorded).norm() / recorded.norm())


def largest_difference(ours: Tensor, recorded: Tensor) -> float:
    """max |ours - recorded|; a tensor of another shape is infinitely far."""
    if ours.shape != recorded.shape:
        return float("inf")
    return float((ours - recorded).abs().max())
