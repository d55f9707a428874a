"""The worker's notice board: its status object in the store and its event lines on standard output.

Knows nothing of editing. A store that does not take a status never stops the work: the line on standard output says so.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import resource
import sys
import threading
import time
from dataclasses import replace
from typing import Any

from edits import wire
from edits.errors import SamaflowError
from edits.job import WorkerStatus
from edits.storage import Store, status_path


class Board:
    """What the worker says about itself. All methods may be called from any thread."""

    def __init__(self, store: Store, dispatch_id: str, index: int, attempt: int, name: str = "") -> None:
        self._store = store
        self._path = status_path(dispatch_id, index, attempt, name)
        self._lock = threading.Lock()
        """Over `_status`, never for long: a slow store must not hold up an edit."""
        self._writing = threading.Lock()
        self._device_since: float | None = None
        self._status = WorkerStatus(
            dispatch_id=dispatch_id, index=index, attempt=attempt, state="loading", done=(), edited=(), failed=(),
            current="", step=0, steps=0, gpu_seconds=0.0, device="", peak_memory_bytes=0, updated_at=0.0,
            exit_code=None, worker=name,
        )  # fmt: skip

    @property
    def status(self) -> WorkerStatus:
        """The status as of now."""
        with self._lock:
            held = 0.0 if self._device_since is None else time.monotonic() - self._device_since
            self._status = replace(
                self._status, gpu_seconds=round(held, 3), peak_memory_bytes=peak_memory(), updated_at=time.time()
            )
            return self._status

    def device_taken(self) -> None:
        """From here on the worker keeps a device from others: its GPU-seconds begin."""
        self._device_since = time.monotonic()

    def note(self, **changes: Any) -> None:
        """Change fields of the status; the next event or beat carries them."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def event(self, name: str, **facts: object) -> None:
        """Print one JSON line and rewrite the status object, at once and without a second attempt."""
        self.say(name, **facts)
        self.write(self._store.with_pauses(()))

    def say(self, name: str, **facts: object) -> None:
        """Print one JSON line."""
        line = json.dumps({"time": round(time.time(), 3), "event": name, **facts}, ensure_ascii=False)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def write(self, store: Store | None = None) -> bool:
        """Rewrite the status object; whether the store took it."""
        with self._writing:  # one at a time, so that an older status never replaces a newer one
            try:
                (store or self._store).put_bytes(self._path, wire.dump(self.status))
            except SamaflowError as error:
                self.say("status_not_written", message=str(error))
                return False
        return True


def peak_memory() -> int:
    """Bytes, at most, so far: of the accelerator where torch uses one, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """Of Python, samaflow and what the editor has loaded of torch and diffusers."""
    loaded = {name: module.__version__ for name in ("torch", "diffusers") if (module := sys.modules.get(name))}
    return {"python": platform.python_version(), "samaflow": importlib.metadata.version("samaflow"), **loaded}
