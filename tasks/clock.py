"""Time as the dispatcher takes it, so that a test can let hours pass in seconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Unix seconds, and waiting."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's own."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Every:
    """True once every so many seconds, when asked."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = 0.0

    def due(self) -> bool:
        now = self._clock.now()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
