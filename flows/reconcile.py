"""The scheduled cleaner: what runs that died have left is mended, and flows whose pods go on are started again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

import sql
from edits.settings import load_settings
from edits.storage import Store
from tasks.artifacts import publish_leftovers
from tasks.kubernetes_api import connect
from tasks.leftovers import Leftover, Leftovers
from tasks.prefect_runs import RunState, start_again, state_of


@flow(name="reconcile")
def reconcile(
    mend: Annotated[bool, Field(title="Mend", description="Put in order; without it this only says what is.")] = True,
) -> list[Leftover]:
    """Find what is left over in the cluster, the database and the store, and put it in order."""
    settings = load_settings(Path.cwd(), os.environ, {})
    db = sql.open_database(settings.database)
    store = Store(settings.store, endpoint_url=settings.endpoint_url)
    cluster = connect(settings) if settings.executor == "kubernetes" else None
    if mend:
        cancel_with_prefect(db)
    found = Leftovers(db, store, cluster, start_again).find(mend=mend)
    publish_leftovers(found)
    return found


def cancel_with_prefect(db: sql.Database) -> None:
    """Jobs whose flow run was cancelled in Prefect, and killed before it could say so, are cancelled."""
    for item in sql.unfinished_dispatches(db):
        if not item.alive and item.flow_run_id and state_of(item.flow_run_id) is RunState.CANCELLED:
            for job_id in item.jobs:
                sql.request_cancel(db, job_id, "its flow run was cancelled")
