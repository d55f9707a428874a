"""What Prefect says of flow runs, and starting one again. A server that is down means 'not known', never an error.

Prefect is imported where it is used: `samaflow status` needs none of it and answers at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from edits.errors import BusyError, SamaflowError, StateError
from sql import GoneFlow

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger(__name__)

ANSWERS_WITHIN = 5.0
"""Seconds. Prefect's own client waits for a server that is away, a minute and more for each question."""

AWAITED = 600.0
"""Seconds for which the end of a run waits for a server that is away."""


AGAIN = "samaflow-again-"
"""A tag begins so that says how often a run was started again."""
AGAIN_AT_MOST = 5

WAITING_FOR_SERVER = (
    f"everything is done, but Prefect's server does not answer: waiting for it, at most {AWAITED / 60:.0f} minutes, to "
    "say how the run ended. What is delivered stays delivered"
)


class RunState(StrEnum):
    """As far as it matters to what a run has left."""

    UNKNOWN = "unknown"
    """No server, or it knows no such run."""
    COMING = "coming"
    """Prefect will start it, or has just done so."""
    RUNNING = "running"
    CANCELLED = "cancelled"
    """Or being cancelled."""
    OVER = "over"
    """Completed, failed or crashed."""


def state_of(flow_run_id: str) -> RunState:
    """Ask the server."""
    try:
        with _asking() as client:
            state = client.read_flow_run(UUID(flow_run_id)).state
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the server, work goes on without it
        log.info("the state of flow run %s is not known: %s", flow_run_id, error)
        return RunState.UNKNOWN
    if state is None or state.is_scheduled() or state.is_pending():
        return RunState.COMING
    if state.is_cancelled() or state.is_cancelling():
        return RunState.CANCELLED
    return RunState.RUNNING if state.is_running() or state.is_paused() else RunState.OVER


@contextmanager
def _asking() -> Iterator[SyncPrefectClient]:
    """A client that asks once and does not wait long."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client({"timeout": ANSWERS_WITHIN}, sync_client=True) as client,
    ):
        yield client


def await_server(announce: Callable[[str], None]) -> None:
    """In a flow run: wait until the server can hear how it ends, and say so. Without one for long it ends unheard."""
    from prefect.context import FlowRunContext

    deadline = time.monotonic() + AWAITED
    while FlowRunContext.get() is not None and time.monotonic() < deadline and not _answers():
        announce(WAITING_FOR_SERVER)
        time.sleep(ANSWERS_WITHIN)
    announce("")


def _answers() -> bool:
    with _asking() as client:
        return client.api_healthcheck() is None


def this_run_is_cancelled() -> bool:
    """Whether somebody has cancelled the flow run that this is called in, by Prefect's UI or command."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    return state_of(str(context.flow_run.id)) is RunState.CANCELLED


def start_again(flow: GoneFlow) -> str:
    """Run a flow that died again, once for each that did; it adopts what still runs.

    Raises:
        BusyError: Prefect says that the run goes on, or will.
        StateError: it was cancelled, it was no run of a deployment, or it died so often that something must be wrong.
        SamaflowError: the server does not answer.
    """
    from prefect.client.orchestration import get_client

    state = state_of(flow.flow_run_id)
    if state is RunState.CANCELLED:
        raise StateError(f"flow run {flow.flow_run_id} was cancelled: its jobs are cancelled, not run again")
    try:
        with get_client(sync_client=True) as client:
            old = client.read_flow_run(UUID(flow.flow_run_id))
            if old.deployment_id is None:
                raise StateError(
                    f"flow run {flow.flow_run_id} was no run of a deployment, so it cannot be started again"
                )
            if state in (RunState.COMING, RunState.RUNNING):
                raise BusyError(f"Prefect says that flow run {flow.flow_run_id} is {state}: it is left to Prefect")
            tag = _next_tag(flow, old.tags)
            key = f"samaflow-again-{flow.owner_id}"
            again = client.create_flow_run_from_deployment(
                old.deployment_id, parameters=old.parameters, idempotency_key=key, tags=["samaflow-reconcile", tag]
            )
    except SamaflowError:
        raise
    except Exception as error:
        raise BusyError(f"Prefect's server cannot start flow run {flow.flow_run_id} again now: {error}") from error
    return f"flow run {again.id} goes on with it"


def _next_tag(flow: GoneFlow, tags: Iterable[str]) -> str:
    """The tag that counts how often a run was started again."""
    before = max((int(tag.removeprefix(AGAIN)) for tag in tags if tag.startswith(AGAIN)), default=0)
    if before >= AGAIN_AT_MOST:
        raise StateError(
            f"flow run {flow.flow_run_id} was started again {before} times and died each time: its log may say why"
        )
    return f"{AGAIN}{before + 1}"
