"""Decides, as the settings say, on jobs whose review nobody gave in time. Meant for a schedule."""

from __future__ import annotations

from prefect import flow

from flows.edit_manifest import RUNNER, edit_order
from flows.forms import Allow, Store, Workers
from tasks.conclude import Summary
from tasks.decide import settle_overdue
from tasks.retry import continued
from tasks.run import open_run


@flow(name="settle-reviews", task_runner=RUNNER)
def settle_reviews(store: Store = None, workers: Workers = None, allow: Allow = None) -> list[Summary]:
    """Approve or reject what has waited longer than `[review] timeout_hours`; without that setting, do nothing.

    Returns what became of jobs that went on after their preview was approved so.
    """
    with open_run([], allow, store=store, workers=workers) as run:
        return [edit_order(run, continued(run, job)) for job in settle_overdue(run)]
