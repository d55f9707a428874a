"""A place where flows come and go while their cluster stays: scripted pods in simulated time, or real workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import sql
from edits.settings import Settings
from edits.storage import Store
from tasks.clock import Clock
from tasks.split import Prepared
from tests.fakes.cluster.clock import Clock as ClusterClock
from tests.fakes.cluster.clock import RealClock, SimulatedClock
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.cluster.controller import Backend
from tests.fakes.cluster.faults import FlowKilledError, Havoc
from tests.fakes.cluster.flow import ScriptedFlow, settings_of
from tests.fakes.cluster.pods import Script, ScriptedPods


class World:
    """One cluster, one store, one database."""

    def __init__(
        self,
        folder: Path,
        make_backend: Callable[[ClusterClock], Backend] | None = None,
        seed: int = 0,
        **settings: object,
    ) -> None:
        """Scripted pods under a simulated clock, or under the real one what `make_backend` makes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.settings: Settings = settings_of(folder, **settings)
        self.script = Script()
        self.store = Store(self.settings.store, endpoint_url=self.settings.endpoint_url)
        self.clock: SimulatedClock | RealClock = RealClock() if make_backend else SimulatedClock()
        self.began = self.clock.now()
        scripted = lambda clock: ScriptedPods(self.store, clock, self.script, seed)  # noqa: E731
        self.cluster = FakeCluster(self.clock, make_backend or scripted, seed)

    @property
    def elapsed(self) -> float:
        return self.clock.now() - self.began

    def flow(self, clock: Clock | None = None) -> ScriptedFlow:
        return ScriptedFlow(self.settings, self.cluster.server, clock or self.clock)

    def endure(self, videos: Sequence[Prepared], havoc: Havoc, lives: int = 12) -> int:
        """Run flows over the videos, each until it is killed, to the end; how many there were."""
        clock = Endured(self.clock, havoc)
        for life in range(1, lives + 1):
            with self.flow(clock) as flow, havoc.over(flow):
                try:
                    list(flow.edit(videos))
                except FlowKilledError:
                    continue
                return life
        raise AssertionError(f"{lives} flows were killed")

    def rest(self, seconds: float = 120.0) -> None:
        """Let what was told to end come to its end."""
        deadline = self.clock.now() + seconds
        while self.cluster.controller.pods() and self.clock.now() < deadline:
            self.clock.sleep(1.0)

    @property
    def db(self) -> sql.Database:
        return sql.open_database(self.settings.database)

    def recorded_seconds(self) -> dict[str, float]:
        """GPU-seconds of each worker as the database has them, by name."""
        path = self.settings.database.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT worker, gpu_seconds FROM attempt WHERE worker != ''"))


class Endured:
    """The clock of a flow that may be killed whenever it waits."""

    def __init__(self, clock: SimulatedClock | RealClock, havoc: Havoc) -> None:
        self._clock = clock
        self._havoc = havoc

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        self._havoc.step()
        self._havoc.check_flow()
        self._clock.sleep(seconds)
