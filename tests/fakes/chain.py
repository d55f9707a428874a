"""The chain of a run without Prefect: the same plain functions in the same order, one row after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edits.errors import SamaflowError
from tasks.conclude import Summary, conclude
from tasks.deliver import deliver
from tasks.dispatch import Dispatcher
from tasks.intake import Order, take_in
from tasks.run import Run
from tasks.show_preview import show_preview
from tasks.split import prepare


class Done:
    """A future whose call is over."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._value: Any = None
        with contextlib.suppress(SamaflowError):  # Recorded where it was raised, as in a task run.
            self._value = call()

    def add_done_callback(self, fn: Callable[[Done], object]) -> None:
        fn(self)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        return self._value


def edit_plainly(run: Run, order: Order) -> Summary:
    """What `flows.edit_manifest.edit_order` does, raising SomeJobsFailedError in the same cases."""
    finish = show_preview if run.preview else deliver
    for prepared in Dispatcher(run).edit(order.rows, lambda row: Done(lambda: prepare(run, order.manifest_id, row))):
        finish(run, prepared)
    return conclude(run, order)


def edit_rows(run: Run, *rows: dict[str, object], folder: Path) -> Summary:
    """`edit_plainly` for rows whose keys are columns."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    data = "\n".join(",".join(cells) for cells in lines).encode()
    return edit_plainly(run, take_in(run, data, "rows.csv", folder))
