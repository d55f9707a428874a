"""What each part of the training is worth, with equal budgets: arms that differ in one thing, trained and evaluated.

python benchmarks/ablations.py FOLDER [--curriculum pico] [--steps 600] [--batch 8] [--seeds 1 2 3] [--arms NAME ...]

FOLDER has the curriculum's VAE and image encoder (they are trained there first if not), which all arms share. A budget
is steps of one batch, divided between the stages; the learning rate falls over each stage's last third. What an arm
gave is kept in FOLDER/ablations, so that the same command goes on; once VAE and image encoder are there, processes can
have a seed each. The table is of all arms of that budget: mean over the seeds, smallest and largest.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sama_model.config import Options
from sama_model.editors import load
from sama_model.evaluation.evaluate import ALL, chosen, evaluated, row
from sama_model.training.__main__ import curriculum_of
from sama_model.training.curriculum import Curriculum
from sama_model.training.data import Example
from sama_model.training.driver import beginning, new_transformer
from sama_model.training.loop import Progress, adopt, seeded
from sama_model.training.release import released
from sama_model.training.settings import TrainingSettings
from sama_model.training.stage_one import StageOne
from sama_model.training.stage_zero import StageZero
from sama_model.training.trainer import train
from sama_model.training.world.drawing import draw
from sama_model.training.world.rules import WORLDS
from sama_model.training.world.samples import planned
from sama_model.training.world.splits import Split
from sama_model.weights import new_text_encoder

HELD_OUT_SEED = 71
THINGS = ("replace", "add", "remove", "recolour")
"""Kinds of edit that change a thing: a style or a ground is learned in any arm."""


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget."""

    name: str
    zero: float
    """Share of the steps that are stage 0's."""
    one: float
    semantic: bool = True
    """Whether the anchors' tokens are in the loss."""
    motion: bool = True
    """Whether stage 0's clips are perturbed; if not, each is its own source."""


ARMS = (
    Arm("untrained", 0, 0),
    Arm("stage 0 alone", 1, 0),
    Arm("stage 1 alone", 0, 1),
    Arm("stage 0 and 1", 0.5, 0.5),
    Arm("without semantic anchoring", 0.5, 0.5, semantic=False),
    Arm("without motion alignment", 0.5, 0.5, motion=False),
)


@dataclass(frozen=True)
class Unperturbed(StageZero):
    """Stage 0 without pretexts."""

    def clip(self, number: int, rng: np.random.Generator) -> Example:
        rules = WORLDS[self.world]
        plan = planned(self.seed, number, rules=rules)
        frames = draw(plan.source, rules).frames
        return Example(f"{self.world} world {self.seed}/{number}", frames, frames, plan.source_caption, "none")


@dataclass(frozen=True)
class Result:
    """One arm under one seed, on the held-out clips."""

    arm: str
    seed: int
    done: float
    """Share of all clips."""
    things_done: float
    inside: float
    """PSNR where an edit of a thing changes the picture, dB."""
    outside: float
    path: float
    """Pixels; see docs/training.md."""


def examples_of(arm: Arm, curriculum: Curriculum, seed: int) -> tuple[StageZero, StageOne]:
    """Of both stages; other examples under another seed."""
    kind = StageZero if arm.motion else Unperturbed
    world, kinds = curriculum.world, curriculum.kinds
    zero = kind(100 * seed + 2, curriculum.stage_zero.batch, curriculum.images, world, kinds)
    return zero, StageOne(100 * seed + 3, world, kinds)


def in_batches(curriculum: Curriculum, batch: int) -> Curriculum:
    """With steps of so many examples in both stages."""
    zero, one = curriculum.stage_zero, curriculum.stage_one
    return replace(curriculum, stage_zero=replace(zero, batch=batch), stage_one=replace(one, batch=batch))


def settings_of(stage: TrainingSettings, steps: int, arm: Arm, seed: int, *, text: bool) -> TrainingSettings:
    """A stage as the curriculum has it, as short as the budget wants it."""
    falling, rising = steps // 3, min(stage.warmup, steps // 6)
    weight = stage.semantic_weight if arm.semantic else 0.0
    length = replace(stage, steps=steps, cooldown=falling, warmup=rising, ema_decay=0.99, checkpoint_every=steps)
    return replace(length, seed=seed, semantic_weight=weight, train_text=text)


def weights_of(arm: Arm, curriculum: Curriculum, folder: Path, steps: int, seed: int) -> Path:
    """Trained as the arm says, in the seed's folder."""
    its = folder / f"seed-{seed}"
    begun = beginning(curriculum, folder, quiet)
    networks = replace(
        begun,
        text_encoder=seeded(lambda: new_text_encoder(curriculum.text_encoder), seed),
        transformer=seeded(lambda: new_transformer(curriculum), seed),
    )
    zero, one = examples_of(arm, curriculum, seed)
    stages = (
        ("stage_zero", zero, curriculum.stage_zero, round(arm.zero * steps)),
        ("stage_one", one, curriculum.stage_one, round(arm.one * steps)),
    )
    for part, examples, stage, share in stages:
        if share:
            text = part == "stage_zero" or not arm.zero  # else the stage before it has trained the text encoder
            settings = settings_of(stage, share, arm, seed, text=text)
            run = its / part
            shutil.rmtree(run, ignore_errors=True)
            adopt(train(networks, examples, settings, run, told(arm, seed), part=part), networks.trained(settings))
    released(networks, curriculum, its)
    return its / "weights" / curriculum.name


def quiet(progress: Progress) -> None:
    """Nothing to say."""


def told(arm: Arm, seed: int) -> Callable[[Progress], None]:
    """A line now and then."""

    def tell(progress: Progress) -> None:
        if (progress.step + 1) % 100 == 0:
            losses = " ".join(f"{name} {value:.3f}" for name, value in progress.figures)
            print(f"{arm.name}, seed {seed}: {progress.part} {progress.step + 1}/{progress.steps} {losses}", flush=True)

    return tell


def measured(arm: Arm, seed: int, weights: Path, curriculum: Curriculum, clips: int) -> Result:
    """On clips that no arm was trained on, the same for all."""
    editor = load("sama", weights.name, Options(weights_folder=weights.parent))
    samples = chosen(HELD_OUT_SEED, clips, (Split.SEEN,), curriculum.world)
    found = [edited.measured for edited in evaluated(editor, curriculum.sampling, samples)]
    every, things = (row("seen", ALL, its).result for its in (found, [one for one in found if one.kind in THINGS]))
    figures = (things.psnr_inside, things.psnr_outside, things.trajectory_px)
    inside, outside, path = (float("nan") if figure is None else figure for figure in figures)
    return Result(arm.name, seed, every.success, things.success, inside, outside, path)


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = [
        "| | seeds | done, % | things done, % | PSNR inside, dB | outside, dB | path, px |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        its = [result for result in results if result.arm == arm.name]
        if its:
            shares = [spread([100 * getattr(one, name) for one in its], 0) for name in ("done", "things_done")]
            rest = [spread([getattr(one, name) for one in its], 1) for name in ("inside", "outside", "path")]
            lines.append(f"| {arm.name} | {len(its)} | " + " | ".join(shares + rest) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, smallest and largest."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--curriculum", default="pico")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--clips", type=int, default=42)
    parser.add_argument("--arms", nargs="*", default=[arm.name for arm in ARMS])
    given = parser.parse_args()
    torch.set_num_threads(1)
    curriculum = in_batches(curriculum_of(given.curriculum), given.batch)
    budget = f"{curriculum.name}-{given.steps}x{given.batch}-{given.clips}"
    kept = given.folder / "ablations"
    kept.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for arm in ARMS:
            path = kept / f"{arm.name.replace(' ', '-')}-{budget}-{seed}.json"
            if arm.name in given.arms and not path.exists():
                weights = weights_of(arm, curriculum, given.folder, given.steps, seed)
                result = measured(arm, seed, weights, curriculum, given.clips)
                aside = path.with_suffix(".part")
                aside.write_text(json.dumps(asdict(result)))
                aside.replace(path)
                print(result, flush=True)
    print(table([Result(**json.loads(path.read_text())) for path in sorted(kept.glob(f"*-{budget}-*.json"))]))


if __name__ == "__main__":
    main()
