"""Time as the cluster sees it: the real one, or one that moves only when somebody sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class RealClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SimulatedClock:
    """Unix seconds that pass in steps, and nothing happens between two steps but what `on_step` does."""

    def __init__(self, step: float = 1.0, settle: float = 0.001) -> None:
        """`settle` are real seconds a sleep, in which threads that wait on sockets get their turn."""
        self._now = 1_800_000_000.0
        self._step = step
        self._settle = settle
        self._lock = threading.Lock()
        self.on_step: list[Callable[[], None]] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        left = seconds
        while left > 1e-9:
            part = min(self._step, left)
            left -= part
            with self._lock:
                self._now += part
            for action in self.on_step:
                action()
        time.sleep(self._settle)


Clock = RealClock | SimulatedClock


def stamp(seconds: float) -> str:
    """A timestamp as the API writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
