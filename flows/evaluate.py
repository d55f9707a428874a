"""What `samaflow evaluate` does: how well weights follow instructions, on clips whose exact answer is known."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edits.errors import PermanentError, WeightsError
from edits.settings import Settings
from flows import display
from flows.models import translated
from flows.results import out
from flows.units import duration
from sama_model.config import Recipe
from sama_model.evaluation.evaluate import HELD_OUT, Measured, Row, chosen, evaluated, name_of, rows_of, world_of
from sama_model.evaluation.scores import Means
from sama_model.evaluation.sheet import Shown
from sama_model.training.world.rules import WORLDS
from tasks.shard import model_options


@dataclass(frozen=True)
class Evaluation:
    """What `samaflow evaluate --json` prints: fields are added, never renamed."""

    weights: str
    digest: str
    editor: str
    editor_version: str
    preset: str
    recipe: Recipe
    device: str
    world: str
    """Digest of the world's rules."""
    world_name: str
    """One of `WORLDS`: the one whose picture and frames the weights have, else the full one."""
    seed: int
    seconds_per_clip: float
    """Editing and measuring."""
    rows: tuple[Row, ...]
    samples: tuple[Measured, ...]


def evaluation(
    settings: Settings, weights: str, seed: int, count: int, split: str, preset: str, sheet: Path | None
) -> Evaluation:
    """Load, edit, measure; progress on a terminal. `split` is one of the command's names.

    Raises:
        WeightsError: no such weights, or not such as can be evaluated.
        PermanentError: no such preset.
    """
    from sama_model.cards import card as card_of
    from sama_model.editors import load  # here: it brings torch

    options = model_options(settings)
    if os.sep in weights:
        folder = Path(weights).absolute()
        options, weights = replace(options, weights_folder=folder.parent), folder.name
    splits = [held_out for held_out in HELD_OUT if split in {"all", name_of(held_out)}]
    try:
        with translated():
            world = world_of(card_of("sama", weights, options.weights_folder))
            samples = chosen(seed, count, splits, world)
            editor = load("sama", weights, options, [sample.plan.instruction for sample in samples])
            name, recipe = chosen_recipe(editor.card.recipes, preset)
            begun, shown, measured = time.monotonic(), Shown(), []
            columns = (*Progress.get_default_columns()[:2], TextColumn("{task.completed}/{task.total}"))
            with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=display.err) as bar:
                for edited in bar.track(evaluated(editor, recipe, samples), len(samples), description="evaluate"):
                    measured.append(edited.measured)
                    shown.add(edited)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    if sheet is not None:
        sheet.write_bytes(shown.png())
    card, seconds = editor.card, (time.monotonic() - begun) / len(samples)
    about = (card.name, card.digest, card.editor, card.editor_version, name, recipe, editor.device)
    return Evaluation(*about, WORLDS[world].digest(), world, seed, seconds, rows_of(measured), tuple(measured))


def chosen_recipe(recipes: Sequence[tuple[str, Recipe]], preset: str) -> tuple[str, Recipe]:
    """The preset of this name, or the first. Raises PermanentError."""
    for name, recipe in recipes:
        if preset in {"", name}:
            return name, recipe
    raise PermanentError(f"there is no preset '{preset}'; there are {', '.join(name for name, _ in recipes)}")


# -- for people -------------------------------------------------------------------------------------------------------

HEADINGS = ("done", "PSNR in", "out", "SSIM in", "out", "path px", "found", "flicker")


def show(found: Evaluation) -> None:
    """The rows, and what was evaluated."""
    show_rows(found.rows)
    out.print(
        f"{found.weights} {found.digest[:16]}, preset {found.preset}, seed {found.seed}, {found.world_name} world "
        f"{found.world[:12]}; {duration(found.seconds_per_clip)} a clip on {found.device}",
        highlight=False,
        soft_wrap=True,
    )


def show_rows(rows: Sequence[Row]) -> None:
    """A row a split and kind: the result, no edit, and the VAE's ceiling."""
    table = Table("split", "edit", "clips", "", *HEADINGS, box=None, pad_edge=False)
    for row in rows:
        first = (row.split, row.kind, str(row.count))
        table.add_row(*first, "result", *cells(row.result))
        table.add_row("", "", "", "no edit", *cells(row.no_edit), style="dim")
        if row.ceiling is not None:
            table.add_row("", "", "", "ceiling", *cells(row.ceiling), style="dim")
    out.print(table)


def cells(means: Means) -> tuple[str, ...]:
    """One line of the table, in the order of `HEADINGS`."""

    def said(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        f"{means.success:.0%}",
        said(means.psnr_inside, ".1f"),
        said(means.psnr_outside, ".1f"),
        said(means.ssim_inside, ".3f"),
        said(means.ssim_outside, ".3f"),
        said(means.trajectory_px, ".2f"),
        said(means.found, ".0%"),
        f"{means.flicker:.2f}",
    )
