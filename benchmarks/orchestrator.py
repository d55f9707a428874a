"""What orchestration costs at scale: videos, chunks and pods on a simulated clock, over HTTP to the API server double.

    python benchmarks/orchestrator.py [--videos 500] [--chunks 10] [--pods 64] [--seconds 120]

Prints, for the size that is asked for, then for half the videos, half the pods and chunks of twice the time: CPU
seconds of the flow (its loop and its two watches; the double's own are left out), requests to the API server and to
the store, the growth of memory, when the first pod was busy and when the first video was whole. Media work is left out:
a split takes 20 simulated seconds, two at a time.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tasks.split import Prepared
from tests.fakes.cluster.clock import SimulatedClock
from tests.fakes.cluster.controller import Node
from tests.fakes.cluster.flow import ScriptedFlow, Split, video
from tests.fakes.cluster.world import World

SPLIT_SECONDS = 20.0
STEP_SECONDS = 5.0


@dataclass(frozen=True)
class Size:
    """What is run."""

    videos: int
    chunks: int
    pods: int
    seconds: float
    """Of one chunk on one GPU."""


@dataclass(frozen=True)
class Cost:
    """What it took."""

    size: Size
    cpu: float
    api: Counter[str]
    store: int
    megabytes: float
    hours: float
    """Simulated, from the first row to the last video."""
    pods_started: int
    first_busy_after_splits: int
    first_whole_minutes: float

    def line(self) -> str:
        size, chunks = self.size, self.size.videos * self.size.chunks
        return (
            f"{size.videos:>4} videos {chunks:>5} chunks {size.pods:>3} pods of {size.seconds:.0f} s: "
            f"{self.cpu:6.1f} CPU-s ({1000 * self.cpu / chunks:.1f} ms a chunk), {self.api.total():>4} API requests, "
            f"{self.store:>6} store requests ({self.store / chunks:.1f} a chunk), {self.megabytes:.0f} MB "
            f"({1000 * self.megabytes / chunks:.0f} kB a chunk), {self.hours:.2f} h, {self.pods_started} pods; "
            f"first pod busy after {self.first_busy_after_splits} splits, first video whole after "
            f"{self.first_whole_minutes:.1f} min"
        )


class Splitter:
    """Splits that take their time."""

    def __init__(self, flow: ScriptedFlow, clock: SimulatedClock) -> None:
        self._flow = flow
        self._clock = clock
        self._due: list[tuple[float, Prepared, Callable[[Any], None]]] = []
        self.done = 0
        clock.on_step.append(self._step)

    def __call__(self, prepared: Prepared) -> Splitter.Coming:
        return Splitter.Coming(self, prepared)

    def _step(self) -> None:
        now = self._clock.now()
        ready = [item for item in self._due if item[0] <= now]
        self._due = [item for item in self._due if item[0] > now]
        for _, prepared, callback in ready:
            self.done += 1
            callback(self._flow.split(prepared))

    @dataclass(frozen=True)
    class Coming:
        """What is used of a Prefect future."""

        splitter: Splitter
        prepared: Prepared

        def add_done_callback(self, fn: Callable[[Split], None]) -> None:
            splitter = self.splitter
            splitter._due.append((splitter._clock.now() + SPLIT_SECONDS, self.prepared, fn))

        def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> None:
            return None


def measure(size: Size) -> Cost:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kubernetes_parallelism=size.pods)
        clock = world.clock
        assert isinstance(clock, SimulatedClock)
        clock._step, clock._settle = STEP_SECONDS, 0.0
        world.script.chunk_seconds = size.seconds
        world.cluster.controller.nodes = [Node(f"node-{number}") for number in range(size.pods // 8)]
        with world.cluster, world.flow() as flow:
            return _run(world, flow, clock, size)


def _run(world: World, flow: ScriptedFlow, clock: SimulatedClock, size: Size) -> Cost:
    splitter = Splitter(flow, clock)
    requests = _counted(flow)
    first_busy = [0]

    def look() -> None:
        if not first_busy[0] and world.cluster.controller.max_seen:
            first_busy[0] = splitter.done

    clock.on_step.append(look)
    before = psutil.Process().memory_info().rss
    first_whole = 0.0
    with _cpu_of(clock) as spent:
        videos = (video(number, size.chunks) for number in range(size.videos))
        for _ in flow.dispatcher.edit(videos, splitter):
            first_whole = first_whole or world.elapsed
    grown = psutil.Process().memory_info().rss - before
    backend: Any = world.cluster.backend
    return Cost(
        size, spent[0] + _cpu_of_watches(), world.cluster.server.calls, requests[0], grown / 1e6,
        world.elapsed / 3600, len(backend.started), first_busy[0], first_whole / 60,
    )  # fmt: skip


def _counted(flow: ScriptedFlow) -> list[int]:
    count, attempt = [0], flow.run.store._attempt

    def counted(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        return attempt(*arguments, **options)

    flow.run.store._attempt = counted  # type: ignore[method-assign]
    return count


@contextmanager
def _cpu_of(clock: SimulatedClock) -> Iterator[list[float]]:
    """CPU seconds of this thread outside of the clock, in which the cluster's steps run."""
    spent, inside, sleep = [0.0], [0.0], clock.sleep

    def counted(seconds: float) -> None:
        began = time.thread_time()
        sleep(seconds)
        inside[0] += time.thread_time() - began

    clock.sleep = counted  # type: ignore[method-assign]
    began = time.thread_time()
    yield spent
    spent[0] = time.thread_time() - began - inside[0]


def _cpu_of_watches() -> float:
    names = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("watch-")}
    return sum(t.user_time + t.system_time for t in psutil.Process().threads() if t.id in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--pods", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--one", action="store_true", help="only the size that is asked for")
    asked = parser.parse_args()
    logging.getLogger("tasks").setLevel(logging.ERROR)
    size = Size(asked.videos, asked.chunks, asked.pods, asked.seconds)
    others = [
        Size(size.videos // 2, size.chunks, size.pods, size.seconds),
        Size(size.videos, size.chunks, max(8, size.pods // 2), size.seconds),
        Size(size.videos, size.chunks, size.pods, 2 * size.seconds),
    ]
    for each in [size, *([] if asked.one else others)]:
        print(measure(each).line(), flush=True)


if __name__ == "__main__":
    main()
