"""How a worker ends at once: on SIGTERM, SIGINT, or when the process that holds its standard input is gone.

A Python signal handler waits for the main thread, which a model's step can hold for a minute. So the signal's number
goes, from C, into a pipe, and a thread that reads it ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

FAREWELL_SECONDS = 2.0
"""At most this long may the last words take: spot nodes give 15 s in all."""


class Stopping:
    """Made once, first thing in the main thread."""

    def __init__(self, exit_code: int, parent_pipe: bool) -> None:
        """Watch signals, and with `parent_pipe` standard input, and end the process with `exit_code`."""
        self._exit_code = exit_code
        self._farewell: Callable[[str], None] | None = None
        self._signals, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        watched = [self._signals, sys.stdin.fileno()] if parent_pipe else [self._signals]
        threading.Thread(target=self._watch, args=(watched,), daemon=True).start()

    def say_first(self, farewell: Callable[[str], None]) -> None:
        """Call `farewell(reason)`, in a thread of its own and not for long, before the process ends."""
        self._farewell = farewell

    def _watch(self, watched: list[int]) -> None:
        while True:
            for descriptor in select.select(watched, [], [])[0]:
                data = os.read(descriptor, 1)
                if descriptor == self._signals:
                    self._end(signal.Signals(data[0]).name)
                elif not data:
                    self._end("the parent process is gone")

    def _end(self, reason: str) -> None:
        if self._farewell is not None:
            speaker = threading.Thread(target=self._farewell, args=(reason,), daemon=True)
            speaker.start()
            speaker.join(FAREWELL_SECONDS)
        os._exit(self._exit_code)
