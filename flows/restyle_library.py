"""A whole library in one style: what is new or changed becomes rows of a manifest, which goes the usual way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow

from edits.catalogue import OWN_DETAIL
from edits.library import VIDEOS, Order
from flows.edit_manifest import RUNNER, edit
from flows.form_errors import naming_fields
from flows.forms import (
    NOTHING,
    Allow,
    Deliverable,
    Detail,
    Editor,
    Guidance,
    Instruction,
    MaxGpuHours,
    OrderName,
    Preset,
    Review,
    Seed,
    Steps,
    Store,
    Weights,
    Workers,
    cell,
    field,
)
from tasks.artifacts import publish_library
from tasks.budget import Budget
from tasks.conclude import SomeJobsFailedError, Summary
from tasks.library import Library, LibraryResult, Taken, look_at_library, result_of, settle
from tasks.run import Run, open_run

Root = Annotated[
    str,
    field(
        title="Library",
        description="Folder or bucket prefix; everything below it that matches is looked at.",
        min_length=1,
        examples=["/footage/library", "s3://footage/library"],
    ),
]
Mirror = Annotated[
    str,
    field(
        title="Results",
        description="Folder or bucket prefix in which the library's folders are repeated with the results.",
        min_length=1,
        examples=["/deliverables/winter", "s3://deliverables/winter"],
    ),
]
Wanted = Annotated[
    list[str],
    field(title="Patterns", description="Names to take. One with / is held against the path.", min_length=1),
]
Unwanted = Annotated[
    list[str],
    field(title="Except", description="Names to leave out.", examples=[["*_proxy.mp4", "trailers/*"]]),
]
Turn = Annotated[OrderName, field(title="Order", description="Whose turn is first, when limits leave some for later.")]
MaxVideos = Annotated[int, field(title="Videos at most", description="In one run.", ge=1, le=100_000)]
StopCost = Annotated[
    float,
    field(
        title="Cost: begin no more",
        description="In the currency of the settings, at their price of a GPU-hour. 0: no limit.",
        ge=0,
        examples=[100],
    ),
]
CancelCost = Annotated[
    float,
    field(
        title="Cost: cancel",
        description="What is going on is cancelled; edited chunks are kept. 0: no limit.",
        ge=0,
        examples=[150],
    ),
]
RetryFailed = Annotated[
    bool, field(title="Retry failures", description="Also try again what failed for good, or was cancelled.")
]


@flow(name="restyle-library", task_runner=RUNNER)
def restyle_library(
    library: Root,
    instruction: Instruction,
    mirror: Mirror,
    editor: Editor = "sama",
    weights: Weights = "",
    preset: Preset = "",
    seed: Seed = 0,
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    deliverable: Deliverable = "h264",
    detail: Detail = "auto",
    review: Review = "none",
    patterns: Wanted = list(VIDEOS),  # noqa: B006 - Prefect's form shows it; never changed
    exclude: Unwanted = NOTHING,
    order: Turn = "newest",
    max_videos: MaxVideos = 100,
    max_gpu_hours: MaxGpuHours = 0.0,
    stop_cost: StopCost = 0.0,
    cancel_cost: CancelCost = 0.0,
    retry_failed: RetryFailed = False,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
) -> LibraryResult:
    """Restyle what is new or changed in a library since the last run with this style; skip what is done.

    Raises:
        SettingsError, FormError: the library or the style cannot be used; the message names the field.
        SomeFilesFailedError: the good files are delivered, others are not.
    """
    style = {
        "instruction": instruction,
        "editor": editor,
        "weights": weights,
        "preset": preset,
        "seed": cell(seed),
        "steps": cell(steps),
        "guidance": cell(guidance),
        "deliverable": deliverable,
        "detail": "" if detail == OWN_DETAIL else detail,
        "review": review,
    }
    wanted = Library(library, mirror, style, tuple(patterns), tuple(exclude), Order(order), max_videos, retry_failed)
    with open_run([], allow, store=store, workers=workers) as run:
        budget = Budget.of(run.settings, max_gpu_hours, stop_cost, cancel_cost)
        with naming_fields(restyle_library):
            taken = look_at_library(run, wanted)
        result = result_of(taken, _edit(run, taken, budget))
    publish_library(result)
    if result.failed:
        raise SomeFilesFailedError(result)
    return result


class SomeFilesFailedError(Exception):
    """The run is over and at least one file of the library failed. Raised so that the flow run counts as failed."""

    def __init__(self, result: LibraryResult) -> None:
        self.result = result
        first = next((row for row in result.summary.rows if row.state == "failed"), None) if result.summary else None
        why = f"; the first: {first.told()}" if first is not None else ""
        super().__init__(f"{result.failed} of {len(result.summary.rows) if result.summary else 0} files failed{why}")


def _edit(run: Run, taken: Taken, budget: Budget) -> Summary | None:
    if not taken.files:
        return None
    try:
        return edit(run, taken.manifest(), f"library {Path(taken.root).name}", Path.cwd(), budget)
    except SomeJobsFailedError as error:
        return error.summary
    finally:
        settle(run, taken)
