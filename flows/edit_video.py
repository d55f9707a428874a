"""One video from a form: the same chain as a manifest with one row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from edits.catalogue import OWN_DETAIL
from edits.manifest import one_row_manifest
from flows.edit_manifest import RUNNER, Allow, Overwrite, Store, Workers, edit
from tasks.conclude import Summary
from tasks.run import open_run

Source = Annotated[str, Field(title="Source", description="Path or URI of the video.", min_length=1)]
Instruction = Annotated[str, Field(title="Instruction", description="What to change, in plain words.", min_length=1)]
Output = Annotated[str, Field(title="Output", description="Folder or file; empty: the usual folder.")]
Position = Annotated[str, Field(description="Frame f120, seconds 12.5s or timecode 01:00:12:05; empty: the whole.")]
Seed = Annotated[int | None, Field(title="Seed", ge=0, description="Empty is 0.")]


@flow(name="edit-video", task_runner=RUNNER)
def edit_video(
    source: Source,
    instruction: Instruction,
    editor: Literal["sama", "grade", "passthrough"] = "sama",
    preset: Annotated[str, Field(title="Preset", description="Empty: the weights' default.")] = "",
    start: Position = "",
    end: Position = "",
    seed: Seed = None,
    deliverable: Literal["h264", "prores_422_hq", "ffv1"] = "h264",
    detail: Literal["auto", "full", "tone", "upscale"] = "auto",
    output: Output = "",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
) -> Summary:
    """Edit one video.

    Raises:
        SomeJobsFailedError: it was not delivered; the message says why.
    """
    row = {
        "source": source,
        "instruction": instruction,
        "editor": editor,
        "preset": preset,
        "start": start,
        "end": end,
        "seed": "" if seed is None else str(seed),
        "deliverable": deliverable,
        "detail": "" if detail == OWN_DETAIL else detail,
        "output": output,
    }
    folder = Path.cwd()
    with open_run([], allow, store=store, workers=workers, overwrite=overwrite) as run:
        return edit(run, one_row_manifest(row), "edit-video", folder)
