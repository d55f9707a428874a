"""The command that restyles a library."""

from __future__ import annotations

from typing import Annotated

import typer

from edits.library import VIDEOS
from flows.command import FAILED, AsJson, print_record, problems, settings_here
from flows.forms import DeliverableName, DetailName, EditorName, OrderName, ReviewName
from flows.options import Allow, GpuHours, Store, Workers
from flows.prefect_here import prefect_for

commands = typer.Typer()


@commands.command()
def restyle(
    library: Annotated[str, typer.Argument(help="Folder or s3:// prefix; everything below it that matches.")],
    instruction: Annotated[str, typer.Argument(help="What to change, in plain words.")],
    mirror: Annotated[str, typer.Option(help="Where the library's folders are repeated with the results.")],
    editor: Annotated[EditorName, typer.Option(help="What edits.")] = "sama",
    weights: Annotated[str, typer.Option(help="The editor's model.")] = "",
    preset: Annotated[str, typer.Option(help="A sampling recipe of the weights.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Decides the noise.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Denoising steps; 0: the preset's.")] = 0,
    guidance: Annotated[float, typer.Option(min=0, help="How strongly the instruction is followed.")] = 0.0,
    deliverable: Annotated[DeliverableName, typer.Option(help="The kind of file to deliver.")] = "h264",
    detail: Annotated[DetailName, typer.Option(help="How the source's resolution comes back.")] = "auto",
    review: Annotated[ReviewName, typer.Option(help="required: results wait for approval.")] = "none",
    pattern: Annotated[list[str] | None, typer.Option(help="Names to take, e.g. '*.mp4'; repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Names to leave out; repeatable.")] = None,
    order: Annotated[OrderName, typer.Option(help="Whose turn is first.")] = "newest",
    max_videos: Annotated[int, typer.Option(min=1, help="Videos of one run.")] = 100,
    max_gpu_hours: GpuHours = 0.0,
    stop_cost: Annotated[float, typer.Option(min=0, help="Begin no more at this cost.")] = 0.0,
    cancel_cost: Annotated[float, typer.Option(min=0, help="Cancel what is going on at this cost.")] = 0.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also what failed for good.")] = False,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Restyle what is new or changed in a library; what is done with the same settings is skipped."""
    with problems(), prefect_for(settings_here(store=store)):
        from flows import display
        from flows.restyle_library import SomeFilesFailedError, restyle_library

        with display.watching():
            try:
                result = restyle_library(
                    library=library, instruction=instruction, mirror=mirror, editor=editor, weights=weights,
                    preset=preset, seed=seed, steps=steps, guidance=guidance, deliverable=deliverable, detail=detail,
                    review=review, patterns=pattern or list(VIDEOS), exclude=exclude or [], order=order,
                    max_videos=max_videos, max_gpu_hours=max_gpu_hours, stop_cost=stop_cost, cancel_cost=cancel_cost,
                    retry_failed=retry_failed, store=store, workers=workers, allow=allow,
                )  # fmt: skip
            except SomeFilesFailedError as error:
                result = error.result
        print_record(result) if as_json else display.print_library(result)
    if result.failed:
        raise typer.Exit(FAILED)
