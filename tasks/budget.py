"""What a run may spend: at one threshold it takes on no further rows, at a second it cancels what is going on.

Spent is counted as for `--max-gpu-hours` (`tasks.gpu_hours`). That limit stops in the middle of a job, which then
fails; this one lets a job that was begun finish, and leaves the others for the next run.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sql
from edits.errors import SettingsError
from edits.job import JobState
from edits.manifest import ManifestRow
from edits.settings import Settings
from tasks.artifacts import tell_budget
from tasks.run import Run

LOOK_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """Two thresholds in GPU-seconds, infinite where nothing was set."""

    stop: float = math.inf
    cancel: float = math.inf

    @classmethod
    def of(
        cls, settings: Settings, max_gpu_hours: float = 0.0, stop_cost: float = 0.0, cancel_cost: float = 0.0
    ) -> Budget:
        """The tighter of hours and cost, 0 for no limit; a cost is hours at the price that the settings state.

        Raises:
            SettingsError: a cost without a price, or a cancel threshold below the stop threshold.
        """
        price = settings.gpu_hour_cost
        if (stop_cost or cancel_cost) and not price:
            raise SettingsError(
                "stop_cost, cancel_cost: a cost needs a price. Set [cost] gpu_hour in samaflow.toml, or give "
                "max_gpu_hours instead."
            )
        if 0 < cancel_cost < stop_cost:
            raise SettingsError(
                f"cancel_cost: {cancel_cost:g} is below stop_cost, {stop_cost:g}. Cancelling comes after stopping."
            )
        stop = min(max_gpu_hours or math.inf, stop_cost / price if stop_cost else math.inf)
        cancel = cancel_cost / price if cancel_cost else math.inf
        return cls(3600 * min(stop, cancel), 3600 * cancel)

    def gate(self, run: Run, rows: Iterable[ManifestRow]) -> Iterator[ManifestRow]:
        """`rows` until the first threshold; the others are left for another run, and the board says so."""
        for row in rows:
            if spent(run) < self.stop:
                yield row
            else:
                if not run.stopped_by_limit:
                    tell_budget("stopped", "a library's run")
                run.stopped_by_limit = True
                run.board.end(row.line, JobState.PLANNED, f"left: {_hours(spent(run))} are spent, the limit is reached")

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Inside the block, cancel the run's jobs at the second threshold."""
        over = threading.Event()
        within = contextvars.copy_context()  # the flow run's: the event that it tells belongs to it
        thread = threading.Thread(target=within.run, args=(self._watch, run, over), name="budget", daemon=True)
        if math.isfinite(self.cancel):
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.is_alive():
                thread.join()

    def _watch(self, run: Run, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            if spent(run) >= self.cancel:
                run.stopped_by_limit = True
                reason = f"{_hours(spent(run))} are spent: the cost ceiling is reached"
                log.warning("cancelling what is going on: %s", reason)
                tell_budget("cancelled", "a library's run")
                for job in run.board.snapshot().jobs:
                    if job.job_id and not job.ended:
                        sql.request_cancel(run.db, job.job_id, reason)
                return


UNLIMITED = Budget()


def spent(run: Run) -> float:
    """GPU-seconds that this run's workers have held a device."""
    return run.gpu_hours.spent_seconds


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} GPU-hours"
