"""The commands for cuts: a manifest out of an EDL or an OpenTimelineIO file, and deliverables back into one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.command import problems

commands = typer.Typer(help="Cuts (EDL, OTIO) to manifests, deliverables back into cuts.", no_args_is_help=True)

Cut = Annotated[Path, typer.Argument(help="An .edl (CMX3600), .otio or .otioz file.")]
Media = Annotated[Path | None, typer.Option(help="Folder in which the clips' media is looked for by name.")]


@commands.command()
def manifest(
    cut: Cut,
    media: Media = None,
    editor: Annotated[str, typer.Option(help="Editor of all rows.")] = "",
    deliverable: Annotated[str, typer.Option(help="Deliverable of all rows.")] = "",
    handles: Annotated[int, typer.Option(min=0, help="Frames before and after each clip that are edited too.")] = 0,
) -> None:
    """Print a manifest with a row for each clip of a cut that has notes: they are its instruction."""
    with problems():
        from edits.timeline.cut import manifest_of

        shared = {"editor": editor, "deliverable": deliverable, "handles": str(handles) if handles else ""}
        extra = {name: value for name, value in shared.items() if value}
        sys.stdout.write(manifest_of(cut, media, extra))


@commands.command()
def conform(
    cut: Cut,
    target: Annotated[Path, typer.Argument(help="Where the new cut is written; of the same kind.")],
    media: Media = None,
) -> None:
    """Write a cut again with the deliverables of its clips in their places."""
    with problems():
        import tasks.conform
        from edits.timeline.cut import read_cut
        from tasks.run import open_run

        folders = [folder.resolve() for folder in (cut.parent, media) if folder is not None]
        with open_run(tuple(folders)) as run:
            placed = tasks.conform.conform(run, cut, target, media)
        outputs = {part.clip.place: part.job.output for part in placed}
        noted = [clip for clip in read_cut(cut) if clip.instruction]
        for clip in noted:
            what = outputs.get(clip.place, "left as it was: nothing with exactly its frames was delivered")
            typer.echo(f"clip {clip.number}: {what}")
        typer.echo(f"{len(placed)} of {len(noted)} clips with notes replaced in {target}")
