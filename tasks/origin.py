"""Where a run comes from: which flow run, who submitted it, with which settings and code. For the record."""

from __future__ import annotations

import getpass
import socket

import sql
from edits.settings import Settings, shareable
from tasks.version import code_version, lock_digest, packages


def origin(settings: Settings) -> sql.FlowRunRecord:
    """What is known of the flow run that this is called in; outside of one, of this process."""
    from prefect.context import FlowRunContext  # here: `samaflow status` needs no Prefect and answers at once

    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    created_by = flow_run.created_by.display_value if flow_run is not None and flow_run.created_by is not None else None
    installed = dict(packages())
    return sql.FlowRunRecord(
        flow_run_id=str(flow_run.id) if flow_run is not None else "",
        flow=context.flow.name if context is not None and context.flow is not None else "",
        submitted_by=created_by or _this_user(),
        settings=shareable(settings),
        code_version=code_version(),
        packages=installed,
        lock_digest=lock_digest(installed),
        image_digest=settings.image_digest,
    )


def _this_user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"  # a container may run under a number that has no name
    return f"{name}@{socket.gethostname()}"
