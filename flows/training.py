"""The commands about training and what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edits.errors import PermanentError
from flows.command import AsJson, asked_database, end_on_sigterm, print_record, problems, settings_here
from flows.prefect_here import prefect_for
from sama_model.training.stopping import PAUSED
from tasks.exits import Exit
from tasks.stopping import Stopping

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
    parent_pipe: Annotated[bool, typer.Option("--parent-pipe", hidden=True)] = False,
) -> None:
    """Edit held-out clips of the drawn world and compare with the exact answers: success, PSNR, SSIM, motion."""
    if parent_pipe:
        Stopping(Exit.STOPPED, parent_pipe)
    with problems():
        if sheet is not None and sheet.is_dir():
            raise PermanentError(f"{sheet}: this is a folder; name a PNG file in it")
        if sheet is not None and not sheet.absolute().parent.is_dir():
            raise PermanentError(f"{sheet}: there is no folder of that name; make it, or name another file")
        from flows import evaluate as evaluating  # here: it draws, and loads the model

        found = evaluating.evaluation(settings_here(), weights, seed, count, split, preset, sheet)
        print_record(found) if as_json else evaluating.show(found)


@commands.command()
def train(
    curriculum: Annotated[str, typer.Argument(help="A committed one by name (nano, pico), or a .toml file.")],
    folder: Annotated[str, typer.Option(help="For checkpoints and weights; the same again goes on.")] = "",
    hours: Annotated[float, typer.Option(min=0, help="Then pause, with a checkpoint; 0: no limit.")] = 0.0,
    rehearsal: Annotated[int, typer.Option(min=0, metavar="STEPS", help="At most so many steps a part.")] = 0,
    samples: Annotated[int, typer.Option(min=0, help="Held-out clips to evaluate on.")] = 70,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the held-out clips.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="So many share each step: one a core or GPU.")] = 1,
    allow: Annotated[list[str] | None, typer.Option(help="A folder that may be used; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a small model from nothing, or go on; evaluate and register it. Exit code 75: paused, the same goes on."""
    end_on_sigterm()
    with problems(), prefect_for(settings_here()):
        from flows import trained
        from flows.train_sama import train_sama

        with trained.watching():
            result = train_sama(curriculum, folder, hours, rehearsal, samples, seed, processes, allow)
        print_record(result) if as_json else trained.show_result(result)
    if result.state == "paused":
        raise typer.Exit(PAUSED)


@commands.command()
def training(
    run: Annotated[str | None, typer.Argument(help="Id of a run, or the beginning of one; without it, all.")] = None,
    curves: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the run's curves into it.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs at most, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show models in training and trained: how far, figures, curves, examples that were left out."""
    with problems():
        from flows import trained

        db = asked_database(settings_here())
        if run is None:
            if curves is not None:
                raise PermanentError("--curves needs a run: give its id, `samaflow training` lists them")
            listed = trained.listed(db, limit)
            print_record(listed) if as_json else trained.show_list(listed)
            return
        history = trained.history(db, run)
        if curves is not None:
            curves.write_text(trained.picture(db, run), encoding="utf-8")
        print_record(history) if as_json else trained.show_history(history)
