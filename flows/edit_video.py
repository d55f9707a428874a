"""One video from a form: the same chain as a manifest with one row."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edits.catalogue import OWN_DETAIL
from edits.manifest import one_row_manifest
from flows.edit_manifest import RUNNER, edit
from flows.form_errors import naming_fields
from flows.forms import (
    Allow,
    Deliverable,
    Detail,
    Editor,
    End,
    ExecutorChoice,
    Guidance,
    Instruction,
    MaxGpuHours,
    Output,
    Overwrite,
    Preset,
    PreviewChoice,
    Review,
    Seed,
    Source,
    Start,
    Steps,
    Store,
    Weights,
    Workers,
    cell,
    named,
)
from tasks.conclude import Summary
from tasks.run import open_run


@flow(name="edit-video", task_runner=RUNNER)
def edit_video(
    source: Source,
    instruction: Instruction,
    editor: Editor = "sama",
    weights: Weights = "",
    preset: Preset = "",
    start: Start = "",
    end: End = "",
    seed: Seed = 0,
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    deliverable: Deliverable = "h264",
    detail: Detail = "auto",
    output: Output = "",
    review: Review = "none",
    preview: PreviewChoice = "none",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    executor: ExecutorChoice = "as set",
    max_gpu_hours: MaxGpuHours = 0.0,
) -> Summary:
    """Edit one video, or a part of it.

    Raises:
        SomeJobsFailedError: it was not delivered; the message says why, and names the field if it is one.
    """
    row = {
        "source": source,
        "instruction": instruction,
        "editor": editor,
        "weights": weights,
        "preset": preset,
        "start": start,
        "end": end,
        "seed": cell(seed),
        "steps": cell(steps),
        "guidance": cell(guidance),
        "deliverable": deliverable,
        "detail": "" if detail == OWN_DETAIL else detail,
        "output": output,
        "review": review,
    }
    folder = Path.cwd()
    given: dict[str, object] = {"store": store, "workers": workers, "executor": named(executor)}
    limit = max_gpu_hours or None
    with (
        naming_fields(edit_video),
        open_run([], allow, overwrite=overwrite, preview=preview, max_gpu_hours=limit, **given) as run,
    ):
        return edit(run, one_row_manifest(row), "edit-video", folder)
