"""A stage of training beside a plain loop over the same network, batches and losses: processor seconds a step, memory.

python benchmarks/training.py [--curriculum pico] [--steps 12] [--rounds 3]

The plain loop draws, computes the losses, and lets the optimizers step. Ours does that through `trainer.train`, and
keeps the average, a checkpoint at the end, the journal and TensorBoard's files. Both take turns; the median of the
rounds counts. Memory is the process's peak after the first turn of each, the plain loop's being first.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sama_model.training.curriculum import Curriculum, committed
from sama_model.training.driver import new_transformer
from sama_model.training.events import EventFiles
from sama_model.training.image_encoder import ImageEncoder
from sama_model.training.journal import Journal
from sama_model.training.loop import Drawn, Progress, optimizers_of, seeded
from sama_model.training.settings import TrainingSettings
from sama_model.training.tokenizer import learned
from sama_model.training.trainer import Networks, Stage, train
from sama_model.training.world.labels import Vocabulary
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.textures import every_texture
from sama_model.weights import new_text_encoder, new_vae


def networks_of(curriculum: Curriculum) -> Networks:
    """As the curriculum's stages begin, but that nothing is trained yet."""
    rules, semantic = WORLDS[curriculum.world], curriculum.transformer.semantic_dim
    vae, channels = seeded(lambda: new_vae(curriculum.vae.sizes), 1), curriculum.vae.sizes.z_dim
    vae.register_to_config(latents_mean=[0.0] * channels, latents_std=[1.0] * channels)
    return Networks(
        transformer=seeded(lambda: new_transformer(curriculum), 1),
        text_encoder=seeded(lambda: new_text_encoder(curriculum.text_encoder), 1),
        vae=vae,
        tokenizer=learned(rules, curriculum.seed, curriculum.text_encoder.vocab),
        anchors=seeded(lambda: ImageEncoder(curriculum.image_encoder.width, semantic, Vocabulary.of(rules)), 1),
    )


def plain(networks: Networks, curriculum: Curriculum, settings: TrainingSettings) -> None:
    """The loop that one would write first."""
    networks.freeze(settings)
    stage = Stage(networks, curriculum.first(), settings, "stage_one", "")
    optimizers = optimizers_of(stage.module, settings)
    for step in range(settings.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.mixed_precision == "bf16"):
            drawn = stage.draw(step)
            assert isinstance(drawn, Drawn)  # of a drawn world every example can be had
            losses = stage.losses(drawn.content)
        losses["total"].backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def ours(networks: Networks, curriculum: Curriculum, settings: TrainingSettings) -> None:
    """`trainer.train` with all that it leaves behind."""
    with TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        events = EventFiles(Path(folder) / "tensorboard")

        def tell(progress: Progress) -> None:
            journal.tell(progress)
            events.tell(progress)

        train(networks, curriculum.first(), settings, Path(folder) / "stage_one", tell, part="stage_one")
        events.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--curriculum", default="pico")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    curriculum = committed(given.curriculum)
    every_texture(WORLDS[curriculum.world])
    settings = replace(curriculum.stage_one, steps=given.steps, cooldown=0, workers=0, compile=False)
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, run in (("plain loop", plain), ("trainer.train", ours)):
            networks, begun = networks_of(curriculum), time.process_time()
            run(networks, curriculum, settings)
            seconds.setdefault(name, []).append((time.process_time() - begun) / given.steps)
            peaks.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    for name, took in medians.items():
        print(f"{name:14} {took:.3f} s of one processor a step of {settings.batch}, {peaks[name]:,.0f} MiB")
    print(f"ratio {medians['trainer.train'] / medians['plain loop']:.2f}")


if __name__ == "__main__":
    main()
