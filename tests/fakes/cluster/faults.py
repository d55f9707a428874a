"""What goes wrong in a cluster, by a seed: at which second what is done to pods, to the API server and to the flow."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edits.job import ShardChunk
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.cluster.flow import ScriptedFlow
from tests.fakes.cluster.objects import Json

KINDS = ("kill", "oom", "preempt", "delete", "duplicate", "storm", "drop", "forget", "image", "full", "flow", "fuse")


class FlowKilledError(BaseException):
    """As kill -9 of the flow: nothing of it is executed any more, and nobody catches it."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    """Seconds after the beginning."""
    kind: str
    lasts: float
    luck: float
    """0 to 1: which pod, how many calls."""


def schedule(seed: int, horizon: float, most: int = 8, kinds: tuple[str, ...] = KINDS) -> list[Fault]:
    """Up to `most` faults within `horizon` seconds."""
    draw = random.Random(seed)
    faults = [
        Fault(draw.uniform(0, horizon), draw.choice(kinds), draw.uniform(5, 40), draw.random())
        for _ in range(draw.randint(1, most))
    ]
    return sorted(faults, key=lambda fault: fault.at)


@dataclass
class Fuse:
    """Kills the flow at its n-th call to the store, the database or the API server, before the call or after it."""

    calls: int = 0
    after: bool = False
    armed: bool = False

    def light(self, calls: int, after: bool) -> None:
        self.calls, self.after, self.armed = calls, after, True

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            burnt = self._burn()
            if burnt and not self.after:
                raise FlowKilledError
            result = call(*arguments, **options)
            if burnt:
                raise FlowKilledError
            return result

        return counted

    def _burn(self) -> bool:
        if not self.armed or threading.current_thread() is not threading.main_thread():
            return False
        self.calls -= 1
        if self.calls > 0:
            return False
        self.armed = False
        return True


@dataclass
class Havoc:
    """Carries out a schedule on a cluster while flows come and go. Call `step` as time passes."""

    cluster: FakeCluster
    faults: list[Fault]
    began: float = 0.0
    fuse: Fuse = field(default_factory=Fuse)
    done: list[Fault] = field(default_factory=list)
    _storm_until: float = 0.0
    _image_until: float = 0.0
    _full_until: float = 0.0
    _kill: bool = False
    _draw: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.began = self.cluster.clock.now()
        self.cluster.server.trouble = self._trouble
        self.cluster.controller.image_fault = self._image
        self.cluster.controller.may_schedule = lambda: self.cluster.clock.now() >= self._full_until

    def step(self) -> None:
        while self.faults and self.faults[0].at <= self.cluster.clock.now() - self.began:
            fault = self.faults.pop(0)
            self.done.append(fault)
            self._carry_out(fault)

    def check_flow(self) -> None:
        """In the flow's own thread: end it, if its time has come."""
        if self._kill:
            self._kill = False
            raise FlowKilledError

    @contextmanager
    def over(self, flow: ScriptedFlow) -> Iterator[None]:
        """Put the fuse around a flow's ways out."""
        store, cluster = flow.run.store, flow.cluster
        store._attempt = self.fuse.around(store._attempt)  # type: ignore[method-assign]
        cluster._call = self.fuse.around(cluster._call)  # type: ignore[method-assign]
        object.__setattr__(flow.run.db, "write", self._around_transaction(flow.run.db.write))  # it is frozen
        yield
        self.fuse.armed = False

    def _around_transaction(self, write: Callable[[], Any]) -> Callable[[], Any]:
        @contextmanager
        def counted() -> Iterator[Any]:
            self.fuse.around(lambda: None)()
            with write() as session:
                yield session
            self.fuse.around(lambda: None)()

        return counted

    def _carry_out(self, fault: Fault) -> None:
        controller, now = self.cluster.controller, self.cluster.clock.now()
        running = controller.pods(running=True)
        pod = running[int(fault.luck * len(running))] if running else None
        if fault.kind == "storm":
            self._storm_until = now + fault.lasts
        elif fault.kind == "image":
            self._image_until = now + fault.lasts
        elif fault.kind == "full":
            self._full_until = now + fault.lasts
        elif fault.kind == "drop":
            self.cluster.server.drop_watches()
        elif fault.kind == "forget":
            self.cluster.objects.forget()
            self.cluster.server.drop_watches()
        elif fault.kind == "flow":
            self._kill = True
        elif fault.kind == "fuse":
            self.fuse.light(1 + int(fault.luck * 60), fault.luck * 1000 % 2 > 1)
        elif pod is not None:
            self._hurt(fault.kind, pod)

    def _hurt(self, kind: str, pod: Json) -> None:
        controller = self.cluster.controller
        if kind == "kill":
            controller.kill(pod)
        elif kind == "oom":
            controller.kill(pod, "OOMKilled")
        elif kind == "preempt":
            controller.preempt(pod, 15.0)
        elif kind == "delete":
            controller.delete_pod(pod)
        elif kind == "duplicate":
            controller.duplicate(pod)

    def calm(self) -> None:
        """Whatever storm goes on is over: what is asked from now on is answered."""
        self._storm_until = 0.0

    def _trouble(self, address: object) -> str | int | None:
        if self.cluster.clock.now() >= self._storm_until or self._draw.random() > 0.7:
            return None
        return self._draw.choice((500, 503, 429, "reset"))

    def _image(self, pod: Json) -> str:
        return "ImagePullBackOff" if self.cluster.clock.now() < self._image_until else ""


def mishaps(seed: int) -> Callable[[ShardChunk], str]:
    """What scripted workers meet: mostly nothing."""
    draw = random.Random(seed)
    share = draw.choice((0.0, 0.0, 0.05, 0.15))
    kinds = ("transient", "crash", "device_memory", "host_memory", "permanent")

    def mishap(chunk: ShardChunk) -> str:
        return draw.choice(kinds) if draw.random() < share else ""

    return mishap
