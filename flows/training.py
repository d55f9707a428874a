"""The commands about training and what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edits.errors import PermanentError
from flows.command import AsJson, print_record, problems, settings_here

commands = typer.Typer()

SplitName = Literal["seen", "new-looks", "new-words", "all"]


@commands.command()
def evaluate(
    weights: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="Weights by name, or a path to their folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Chooses the held-out samples.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Samples of each split; kinds of edit take turns.")] = 70,
    split: Annotated[SplitName, typer.Option(help="Other clips than in training, other looks, other words.")] = "seen",
    preset: Annotated[str, typer.Option(help="Preset of the weights; their first by default.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="A PNG file to show source, result and target in.")] = None,
    as_json: AsJson = False,
) -> None:
    """Edit held-out clips of the drawn world and compare with the exact answers: success, PSNR, SSIM, motion."""
    with problems():
        if sheet is not None and sheet.is_dir():
            raise PermanentError(f"{sheet}: this is a folder; name a PNG file in it")
        if sheet is not None and not sheet.absolute().parent.is_dir():
            raise PermanentError(f"{sheet}: there is no folder of that name; make it, or name another file")
        from flows import evaluate as evaluating  # here: it draws, and loads the model

        found = evaluating.evaluation(settings_here(), weights, seed, count, split, preset, sheet)
        print_record(found) if as_json else evaluating.show(found)
