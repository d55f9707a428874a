"""Registers the deployments of `prefect.yaml` with a Prefect server. Schedules that people made there stay as they are.

`prefect deploy` would put the file's schedules in their place each time; here a schedule of the file is made once, with
its deployment.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.schedules import Cron, Interval, Schedule
from prefect.states import Scheduled
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from edits.errors import SettingsError

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
POOL = "samaflow-local"


def register(home: Path) -> tuple[str, ...]:
    """Make this machine's work pool and its deployments, whose runs work in the folder `home`; returns their names.

    Raises:
        SettingsError: `prefect.yaml` is not beside the code.
    """
    if not FILE.is_file():
        raise SettingsError(f"{FILE}: not there. Install samaflow from its checkout (pip install --editable).")
    whole = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    entries = [entry for entry in whole if entry["work_pool"]["name"] == POOL]
    asyncio.run(_make_pool())
    with get_client(sync_client=True) as client:
        return tuple(_register(client, entry, home) for entry in entries)


async def _make_pool() -> None:
    template = ProcessWorker.get_default_base_job_template()
    async with get_client() as client:
        with suppress(ObjectAlreadyExists):  # From the last time.
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


def _register(client: SyncPrefectClient, entry: dict[str, Any], home: Path) -> str:
    flow = _flow_of(entry["entrypoint"])
    name = f"{flow.name}/{entry['name']}"
    deployment = RunnerDeployment.from_flow(
        flow,
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry.get("parameters", {}),
        schedules=() if _exists(client, name) else [_schedule(each) for each in entry.get("schedules", ())],
        concurrency_limit=entry.get("concurrency_limit"),
        work_pool_name=POOL,
        job_variables={"working_dir": str(home)},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.apply()
    return name


def _flow_of(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return flow


def _exists(client: SyncPrefectClient, name: str) -> bool:
    try:
        client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    return True


def _schedule(entry: dict[str, Any]) -> Schedule:
    if "cron" in entry:
        return Cron(entry["cron"], timezone=entry.get("timezone", "UTC"), active=entry["active"])
    return Interval(entry["interval"], active=entry["active"])


def resume() -> int:
    """Put the flow runs that were in work when the last worker went away back in line; returns how many.

    To be called while no worker of the pool runs: each of these is then nobody's, and goes on from the store.
    """
    in_work = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=in_work), work_pool_filter=pool, limit=200)
        for run in runs:
            client.set_flow_run_state(run.id, Scheduled(message="its worker was stopped: it goes on"), force=True)
    return len(runs)
