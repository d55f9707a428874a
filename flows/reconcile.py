"""The scheduled cleaner: what runs that died have left is mended, and flows with work left are started again.

On one machine that is: jobs whose flow was killed, chunks that it claimed, scratch and half-published files, edited
chunks that nobody recorded. In a cluster, its Jobs too.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

from prefect import flow

import sql
from edits.settings import load_settings
from edits.storage import Store
from flows.forms import field
from tasks.artifacts import publish_leftovers
from tasks.kubernetes_api import connect
from tasks.leftovers import Leftover, Leftovers
from tasks.local_leftovers import local_leftovers
from tasks.prefect_runs import RunState, start_again, state_of


@flow(name="reconcile")
def reconcile(
    mend: Annotated[bool, field(title="Mend", description="Put in order; without it this only says what is.")] = True,
) -> list[Leftover]:
    """Find what is left over in the cluster, the database, the store and this machine's folders; put it in order."""
    settings = load_settings(Path.cwd(), os.environ, {})
    store = Store(settings.store, endpoint_url=settings.endpoint_url)
    cluster = connect(settings) if settings.executor == "kubernetes" else None
    with closing(sql.open_database(settings.database)) as db:
        if mend:
            cancel_with_prefect(db)
        found = local_leftovers(settings, db, mend=mend) if cluster is None else []
        found += Leftovers(db, store, cluster, start_again).find(mend=mend)
    publish_leftovers(found)
    return found


def cancel_with_prefect(db: sql.Database) -> None:
    """Jobs whose flow run was cancelled in Prefect, and killed before it could say so, are cancelled."""
    gone = [item.flow for item in sql.unfinished_dispatches(db) if not item.alive]
    for item in (*gone, *sql.gone_flows(db)):
        if item.flow_run_id and state_of(item.flow_run_id) is RunState.CANCELLED:
            for job_id in item.jobs:
                sql.request_cancel(db, job_id, "its flow run was cancelled")
