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
from pydantic import Field

from tasks.artifacts import live_progress
from tasks.conclude import Summary, conclude
from tasks.deliver import deliver_video
from tasks.dispatch import Dispatcher
from tasks.intake import read_manifest_file, take_in
from tasks.retry import Change, again
from tasks.run import Run, open_run
from tasks.split import split_video

RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=4))
"""Two splits ahead of the workers and two deliveries behind them. The cast: Prefect's own types disagree here."""

ManifestPath = Annotated[str, Field(title="Manifest", description="Path of the CSV manifest.", min_length=1)]
Store = Annotated[str | None, Field(title="Store", description="URI of the store; empty: as set.")]
Workers = Annotated[int | None, Field(title="Workers", description="Local worker processes; empty: as set.", ge=1)]
Allow = Annotated[list[str] | None, Field(title="Allowed folders", description="Beside the manifest's own.")]
Overwrite = Annotated[bool, Field(title="Overwrite", description="Replace deliverables that are already there.")]
StrictPrompts = Annotated[
    bool | None, Field(title="Strict prompts", description="Fail a prompt of over 512 tokens; empty: as set.")
]


@flow(name="edit-manifest", task_runner=RUNNER)
def edit_manifest(
    manifest: ManifestPath,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    strict_prompts: StrictPrompts = None,
) -> Summary:
    """Edit every row of a manifest; rows that cannot run are reported and never stop the others.

    Raises:
        ManifestError: nothing in the manifest can be used.
        SomeJobsFailedError: the good rows are delivered, others are not.
    """
    path = Path(manifest).absolute()
    given = {"store": store, "workers": workers, "strict_prompts": strict_prompts}
    with open_run([path.parent], allow, overwrite=overwrite, **given) as run:
        return edit(run, read_manifest_file(path), path.name, path.parent)


@flow(name="retry-job", task_runner=RUNNER)
def retry_job(
    job_id: Annotated[str, Field(title="Job", description="Job id, or the beginning of one.", min_length=1)],
    chunks: Annotated[list[int] | None, Field(title="Chunks", description="Their numbers; edited again.")] = None,
    seed: Annotated[int | None, Field(title="Seed", description="Another seed makes it another job.", ge=0)] = None,
    shot: Annotated[int | None, Field(title="Shot", description="From 1: only this one is changed.", ge=1)] = None,
    instruction: Annotated[str, Field(title="Instruction", description="Another one; empty: as it was.")] = "",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
) -> Summary:
    """Run one recorded job again: what is missing, named chunks, or, for one shot or all, another seed or instruction.

    What becomes another job is delivered as the next version, `x_v002.mov`, unless it may overwrite.
    """
    change = Change(tuple(chunks or ()), shot, seed, instruction)
    with open_run([], allow, store=store, workers=workers, overwrite=overwrite) as run:
        return edit(run, again(run, job_id, change), f"retry of {job_id}", Path.cwd())


def edit(run: Run, data: bytes, name: str, folder: Path) -> Summary:
    """What all flows share: `data` are a manifest's bytes, its relative paths are relative to `folder`."""
    order = take_in(run, data, name, folder)
    with live_progress(run):
        ready = Dispatcher(run).edit(order.rows, lambda row: split_video.submit(run, order.manifest_id, row))
        deliveries = [deliver_video.submit(run, prepared) for prepared in ready]
        wait(deliveries)
    return conclude(run, order)
