"""The whole cluster, put together: what a test enters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from tests.fakes.cluster.clock import Clock, RealClock, SimulatedClock
from tests.fakes.cluster.controller import Backend, Controller
from tests.fakes.cluster.objects import Json, Objects, Place, RefusedError
from tests.fakes.cluster.server import ApiServer

STEP_SECONDS = 0.03


class FakeCluster:
    """An API server and a controller over one set of objects. Under a real clock it steps in a thread of its own."""

    def __init__(self, clock: Clock, make_backend: Callable[[Clock], Backend], seed: int = 0) -> None:
        self.clock = clock
        self.objects = Objects(clock)
        self.backend = make_backend(clock)
        self.controller = Controller(self.objects, clock, self.backend, seed)
        self.server = ApiServer(self.objects, clock)
        self.server.on_delete = self._on_delete
        self.server.logs = self._log
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        if isinstance(clock, SimulatedClock):
            clock.on_step.append(self.controller.step)

    def __enter__(self) -> FakeCluster:
        self.server.__enter__()
        if isinstance(self.clock, RealClock):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self.server.__exit__()

    def jobs(self) -> list[Json]:
        return [job for place in self.objects.places("jobs") for job in self.objects.all(place)]

    def job_names(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.jobs()]

    def _run(self) -> None:
        while not self._closing.wait(STEP_SECONDS):
            self.controller.step()

    def _on_delete(self, place: Place, body: Json, options: Json) -> bool:
        if place[0] == "pods":
            self.controller.delete_pod(body)
            return True
        if place[0] != "jobs":
            return False
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted not in (None, body["metadata"]["uid"]):
            raise RefusedError(409, "Conflict", "the UID in the precondition does not match the object's")
        return self.controller.delete_job(place, body, options)

    def _log(self, name: str) -> str:
        for place in self.objects.places("pods"):
            with suppress(RefusedError):
                return self.backend.log(self.objects.get(place, name)["metadata"]["uid"])
        return ""
