"""OpenLineage events of a run, through the transport that openlineage-python is configured with. Off by default.

What receives them is not needed for the work: a failing transport is logged and left alone for a while.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import sql
from edits.job import EditJob, JobState
from edits.settings import Settings
from tasks.clock import WallClock

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

log = logging.getLogger(__name__)

PAUSE_SECONDS = 300.0
"""For so long nothing is sent after a failure: a dead receiver takes a transport ten seconds, at each event."""


class Events:
    """Emits what happens to jobs; does nothing unless `[openlineage] events` is set."""

    def __init__(self, settings: Settings) -> None:
        self._on = settings.openlineage_events
        self._disclose = settings.disclose == "full"
        self.flow_run_id = ""
        """Set when the run is recorded."""
        self._clock = WallClock()
        self._silent_until = 0.0

    def started(self, job: EditJob) -> None:
        """The job's turn has come."""
        if self._on:
            from edits import openlineage

            self._emit(openlineage.started(job, self.flow_run_id, self._disclose))

    def ended(self, db: sql.Database, job: EditJob, state: JobState, message: str) -> None:
        """The job is over."""
        if not self._on:
            return
        from openlineage.client.event_v2 import RunState

        from edits import openlineage

        if state is JobState.DELIVERED:
            lineage = sql.lineage_of(db, job.job_id)
            self._emit(openlineage.completed(lineage, self.flow_run_id, self._disclose))
        else:
            kind = RunState.ABORT if state is JobState.CANCELLED else RunState.FAIL
            self._emit(openlineage.ended(job, self.flow_run_id, kind, message, self._disclose))

    @cached_property
    def _client(self) -> OpenLineageClient:
        from openlineage.client import OpenLineageClient

        return OpenLineageClient()

    def _emit(self, event: RunEvent) -> None:
        if self._clock.now() < self._silent_until:
            return
        try:
            self._client.emit(event)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, the job goes on
            self._silent_until = self._clock.now() + PAUSE_SECONDS
            log.warning(
                "the OpenLineage event %s was not sent, nor for %.0f minutes will be any (%s); see samaflow export",
                event.eventType,
                PAUSE_SECONDS / 60,
                error,
            )
