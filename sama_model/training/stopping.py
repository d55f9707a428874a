"""When a training is to stop after its present step: its time is over, a signal came, or whoever began it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

PAUSED, UNUSABLE = 75, 2
"""Exit codes of a training: the same call goes on with it; the call cannot be used."""


class Stopping:
    """Ask it after each step. Open it with `with`, in the main thread: inside, SIGTERM and Ctrl-C only ask to stop.

    A second Ctrl-C ends the process at once; what is lost then are the steps since the last checkpoint.
    """

    def __init__(self, seconds: float | None = None, parent_pipe: bool = False) -> None:
        """`seconds` from now on; `parent_pipe`: standard input is a pipe that the parent process alone holds."""
        self._end = time.monotonic() + seconds if seconds is not None else None
        self._asked = threading.Event()
        if parent_pipe:
            threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def __call__(self) -> bool:
        return self._asked.is_set() or (self._end is not None and time.monotonic() >= self._end)

    def __enter__(self) -> Stopping:
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    def _watch(self) -> None:
        # Unbuffered: a buffer's lock, held here, would abort the interpreter's end.
        while os.read(sys.stdin.fileno(), 1):
            pass
        self._asked.set()
