"""The commands that steer what runs elsewhere: submit, cancel, pause, resume."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

import sql
from flows.command import AsJson, database_of, print_json, print_record, problems, settings_here
from flows.options import Allow, Executor, GpuHours, Overwrite, Preview, Store, StrictPrompts, Workers
from flows.prefect_here import require_server

commands = typer.Typer()

Job = Annotated[str, typer.Argument(help="Job id, or the beginning of one.")]


@commands.command()
def submit(
    manifest: Annotated[Path, typer.Argument(help="CSV manifest; docs/manifest.md describes its columns.")],
    deployment: Annotated[
        str, typer.Option(help="FLOW/DEPLOYMENT of the server; for a cluster edit-manifest/edit-manifest-kubernetes.")
    ] = "edit-manifest/edit-manifest",
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    strict_prompts: StrictPrompts = None,
    preview: Preview = "none",
    executor: Executor = "as set",
    max_gpu_hours: GpuHours = 0.0,
    as_json: AsJson = False,
) -> None:
    """Hand a manifest to a running Prefect server, print where its run is shown, and return."""
    with problems():
        settings = settings_here(store=store)
        require_server(settings)
        from tasks import submit as submission
        from tasks.intake import read_manifest_file, read_order
        from tasks.run import absolute_roots, open_run

        path = manifest.absolute()
        data = read_manifest_file(path)
        run = open_run([path.parent], allow, overwrite=overwrite, store=store)
        read_order(run, data, path.name, path.parent)  # what is unusable is said here, not there
        asked = {
            "store": settings.store if store else None,
            "workers": workers,
            "allow": [str(root) for root in absolute_roots(allow)],
            "overwrite": overwrite,
            "strict_prompts": strict_prompts,
            "preview": preview,
            "executor": executor,
            "max_gpu_hours": max_gpu_hours,
        }
        parameters = {**submission.hand_over(settings, path, data), **asked}
        made = submission.submit(deployment, parameters, uuid.uuid4().hex)
        print_record(made) if as_json else typer.echo(made.url or f"flow run {made.flow_run_id}")


@commands.command()
def cancel(job: Job, as_json: AsJson = False) -> None:
    """Ask for a job to be cancelled; its edited chunks are kept."""
    with problems():
        record = sql.request_cancel(database_of(settings_here()), job)
        if as_json:
            print_json({"job_id": record.job_id, "state": record.state, "cancel_requested": record.cancel_requested})
        elif record.cancel_requested:
            typer.echo(f"job {record.job_id}: asked to cancel; the flow that works on it stops within seconds")
        else:
            typer.echo(f"job {record.job_id}: {record.state}")


@commands.command()
def pause(job: Job, as_json: AsJson = False) -> None:
    """Let nothing more of a job be dispatched; what is dispatched goes on."""
    _pause(job, True, as_json)


@commands.command()
def resume(job: Job, as_json: AsJson = False) -> None:
    """Let a paused job be dispatched again."""
    _pause(job, False, as_json)


def _pause(job: str, paused: bool, as_json: bool) -> None:
    with problems():
        record = sql.pause_job(database_of(settings_here()), job, paused)
        if as_json:
            print_json({"job_id": record.job_id, "state": record.state, "paused": paused})
        else:
            said = "paused: nothing more of it is dispatched until it is resumed" if paused else "goes on"
            typer.echo(f"job {record.job_id}: {said}")
