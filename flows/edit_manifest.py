"""The main job: a CSV manifest in, stitched and verified deliverables out.

A video's way, in the order of the calls: `tasks.intake` reads the manifest, `tasks.split` indexes, plans and splits,
`tasks.dispatch` has workers (`tasks.gpu`) edit the chunks, `tasks.deliver` stitches, verifies and publishes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.forms import (
    Allow,
    ExecutorChoice,
    MaxGpuHours,
    Overwrite,
    PreviewChoice,
    Store,
    StrictPrompts,
    Workers,
    field,
    named,
)
from tasks.artifacts import live_progress
from tasks.budget import UNLIMITED, Budget
from tasks.conclude import Summary, conclude
from tasks.deliver import deliver_video
from tasks.dispatch import Dispatcher
from tasks.intake import Order, take_in
from tasks.manifest_place import find_manifest
from tasks.prefect_runs import await_server
from tasks.retry import MAX_VARIANTS, Change, again
from tasks.run import Run, open_run
from tasks.show_preview import preview_video
from tasks.split import split_video

RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=4))
"""Two splits ahead of the workers and two deliveries behind them. The cast: Prefect's own types disagree here."""

ManifestPlace = Annotated[
    str,
    field(
        title="Manifest",
        description="Path or URI of a CSV manifest, as the machine that runs the flow sees it.",
        examples=["/footage/dailies.csv", "s3://footage/dailies.csv"],
    ),
]
ManifestText = Annotated[
    str,
    field(
        title="Manifest, pasted",
        description="A small manifest itself, with its line of column names. Give this or the path.",
        examples=["source,instruction,editor\n/footage/dog.mp4,turn it sepia,grade"],
    ),
]


@flow(name="edit-manifest", task_runner=RUNNER)
def edit_manifest(
    manifest: ManifestPlace = "",
    text: ManifestText = "",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    strict_prompts: StrictPrompts = None,
    preview: PreviewChoice = "none",
    executor: ExecutorChoice = "as set",
    max_gpu_hours: MaxGpuHours = 0.0,
) -> Summary:
    """Edit every row of a manifest; rows that cannot run are reported and never stop the others.

    Raises:
        ManifestError: nothing in the manifest can be used.
        SomeJobsFailedError: the good rows are delivered, others are not.
    """
    found = find_manifest(manifest, text)
    given: dict[str, object] = {
        "store": store,
        "workers": workers,
        "strict_prompts": strict_prompts,
        "executor": named(executor),
    }
    limit = max_gpu_hours or None
    with open_run(found.folders, allow, overwrite=overwrite, preview=preview, max_gpu_hours=limit, **given) as run:
        return edit(run, found.read(run), found.name, found.base)


@flow(name="retry-job", task_runner=RUNNER)
def retry_job(
    job_id: Annotated[str, field(title="Job", description="Job id, or the beginning of one.", min_length=1)],
    chunks: Annotated[list[int] | None, field(title="Chunks", description="Their numbers; edited again.")] = None,
    seed: Annotated[int | None, field(title="Seed", description="Another seed makes it another job.", ge=0)] = None,
    shot: Annotated[int | None, field(title="Shot", description="From 1: only this one is changed.", ge=1)] = None,
    instruction: Annotated[str, field(title="Instruction", description="Another one; empty: as it was.")] = "",
    variants: Annotated[int, field(title="Variants", description="With as many seeds.", ge=1, le=MAX_VARIANTS)] = 1,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    executor: ExecutorChoice = "as set",
    max_gpu_hours: MaxGpuHours = 0.0,
) -> Summary:
    """Run one recorded job again: what is missing, named chunks, or, for one shot or all, another seed or instruction.

    What becomes another job is delivered as the next version, `x_v002.mov`, unless it may overwrite.
    """
    change = Change(tuple(chunks or ()), shot, seed, instruction, variants)
    given: dict[str, object] = {"store": store, "workers": workers, "executor": named(executor)}
    limit = max_gpu_hours or None
    with open_run([], allow, overwrite=overwrite, preview="none", max_gpu_hours=limit, **given) as run:
        return edit(run, again(run, job_id, change), f"retry of {job_id}", Path.cwd())


def edit(run: Run, data: bytes, name: str, folder: Path | str, budget: Budget = UNLIMITED) -> Summary:
    """What all flows share: `data` are a manifest's bytes, its relative paths are relative to `folder`."""
    return edit_order(run, take_in(run, data, name, folder), budget)


def edit_order(run: Run, order: Order, budget: Budget = UNLIMITED) -> Summary:
    """A manifest that is read: its rows become deliverables, or previews when the run makes these."""
    finish = preview_video if run.preview else deliver_video
    dispatcher = Dispatcher(run)
    with live_progress(run), budget.watching(run):
        rows = budget.gate(run, order.rows)
        deliveries: list[PrefectFuture[Any]] = []
        try:
            for prepared in dispatcher.edit(rows, lambda row: split_video.submit(run, order.manifest_id, row)):
                deliveries.append(finish.submit(run, prepared))
            wait(deliveries)
        except KeyboardInterrupt:
            dispatcher.cancel_all()  # it may have met these lines, where the dispatcher does not see it
            raise
        await_server(run.board.announce)
    return conclude(run, order)
