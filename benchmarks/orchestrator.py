"""What orchestration costs at scale: videos, chunks and pods on a simulated clock, over HTTP to the API server double.

    python -m benchmarks.orchestrator [--videos 40] [--chunks 10] [--pods 16] [--seconds 120] [--one]

Prints a row for a quarter of the videos, half of them and all, then for half the pods and for chunks of twice the time,
each in a process of its own: CPU seconds of the flow (its loop and its two watches; the double's own are left out),
requests to the API server and to the store, the growth of memory (the double's included), when the first pod was busy
and when the first video was whole. Media work is left out: a split takes 20 simulated seconds, two at a time.
The issue's size is `--videos 500 --pods 64`. Standard error says every half minute how far it is; with `TMPDIR` in
memory the store costs no disk.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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
PROGRESS_SECONDS = 30.0
GPUS_PER_NODE = 8
KINDS = {r"\.status\.json$": "status", r"/result\.json$": "marker", r"/output-": "output", r"^dispatches/": "shard"}
"""What a store request is about, by its path."""


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
    """What it took so far."""

    size: Size
    whole: int
    """Videos whose chunks are all edited."""
    cpu: float
    api: Counter[str]
    store: Counter[str]
    megabytes: float
    hours: float
    """Simulated, since the first row."""
    pods_started: int
    first_busy_after_splits: int
    first_whole_minutes: float

    def row(self) -> str:
        """A line of `HEADER`'s table."""
        size, chunks = self.size, self.whole * self.size.chunks
        each = max(chunks, 1)
        kinds = ", ".join(f"{name} {count / each:.1f}" for name, count in sorted(self.store.items()))
        return (
            f"| {self.whole} of {size.videos} | {chunks} | {size.pods} | {size.seconds:.0f} "
            f"| {self.cpu:.1f} | {1000 * self.cpu / each:.1f} | {self.api.total()} "
            f"| {self.store.total() / each:.1f} ({kinds}) "
            f"| {self.megabytes:.0f} | {1000 * self.megabytes / each:.0f} | {self.hours:.2f} | {self.pods_started} "
            f"| {self.first_busy_after_splits} | {self.first_whole_minutes:.1f} |"
        )


HEADER = """\
| videos | chunks | pods | s a chunk | CPU-s | ms a chunk | API requests | store requests a chunk | MB | kB a chunk \
| hours | pods started | splits before a pod was busy | minutes to the first video |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


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


class Meter:
    """Counts what a flow spends."""

    def __init__(self, world: World, flow: ScriptedFlow, clock: SimulatedClock, size: Size) -> None:
        self._world = world
        self._size = size
        self._before = psutil.Process().memory_info().rss
        self._clock_id = time.pthread_getcpuclockid(threading.get_ident())
        self._began = time.clock_gettime(self._clock_id)
        self._inside = 0.0
        """CPU seconds of this thread in the clock, in which the cluster's steps run."""
        self._store = _counted(flow)
        self._splitter = Splitter(flow, clock)
        self._first_busy = 0
        self.whole = 0
        self._first_whole = 0.0
        clock.on_step.append(self._look)
        clock.sleep = self._counted_sleep(clock.sleep)  # type: ignore[method-assign]

    @property
    def splitter(self) -> Splitter:
        return self._splitter

    def one_more(self) -> None:
        """A video is whole."""
        self.whole += 1
        self._first_whole = self._first_whole or self._world.elapsed

    def cost(self) -> Cost:
        backend: Any = self._world.cluster.backend
        return Cost(
            self._size, self.whole, self._spent() + _cpu_of_watches(),
            self._world.cluster.server.calls, self._store, (psutil.Process().memory_info().rss - self._before) / 1e6,
            self._world.elapsed / 3600, len(backend.started), self._first_busy, self._first_whole / 60,
        )  # fmt: skip

    def _spent(self) -> float:
        """Of the flow's thread, whichever asks."""
        return time.clock_gettime(self._clock_id) - self._began - self._inside

    def _look(self) -> None:
        if not self._first_busy and self._world.cluster.controller.max_seen:
            self._first_busy = self._splitter.done

    def _counted_sleep(self, sleep: Callable[[float], None]) -> Callable[[float], None]:
        def counted(seconds: float) -> None:
            began = time.thread_time()
            sleep(seconds)
            self._inside += time.thread_time() - began

        return counted


def measure(size: Size) -> Cost:
    """Run it."""
    logging.getLogger("tasks").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kubernetes_parallelism=size.pods)
        clock = world.clock
        assert isinstance(clock, SimulatedClock)
        world.script.chunk_seconds = size.seconds
        nodes = range(-(-size.pods // GPUS_PER_NODE))
        world.cluster.controller.nodes = [Node(f"node-{number}", GPUS_PER_NODE) for number in nodes]
        with world.cluster, world.flow() as flow:
            meter = Meter(world, flow, clock, size)
            videos = (video(number, size.chunks) for number in range(size.videos))
            with _telling(meter):
                for _ in flow.dispatcher.edit(videos, meter.splitter):
                    meter.one_more()
            return meter.cost()


def _counted(flow: ScriptedFlow) -> Counter[str]:
    count: Counter[str] = Counter()
    attempt = flow.run.store._attempt

    def counted(verb: str, path: str, *arguments: Any, **options: Any) -> Any:
        count[next((kind for pattern, kind in KINDS.items() if re.search(pattern, path)), "other")] += 1
        return attempt(verb, path, *arguments, **options)

    flow.run.store._attempt = counted  # type: ignore[method-assign, assignment]
    return count


@contextmanager
def _telling(meter: Meter) -> Iterator[None]:
    """Say now and then how far it is: what is printed is what there is, should it be ended."""
    over = threading.Event()

    def tell() -> None:
        began = time.monotonic()
        while not over.wait(PROGRESS_SECONDS):
            print(f"{time.monotonic() - began:.0f} s: {meter.cost().row()}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _cpu_of_watches() -> float:
    names = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("watch-")}
    return sum(t.user_time + t.system_time for t in psutil.Process().threads() if t.id in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--pods", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--one", action="store_true", help="only the size that is asked for")
    asked = parser.parse_args()
    size = Size(asked.videos, asked.chunks, asked.pods, asked.seconds)
    smaller = [Size(max(1, size.videos // part), size.chunks, size.pods, size.seconds) for part in (4, 2)]
    others = [
        Size(size.videos, size.chunks, max(1, size.pods // 2), size.seconds),
        Size(size.videos, size.chunks, size.pods, 2 * size.seconds),
    ]
    print(HEADER, flush=True)
    for each in [size] if asked.one else [*smaller, size, *others]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            print(process.submit(measure, each).result().row(), flush=True)


if __name__ == "__main__":
    main()
