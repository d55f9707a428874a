"""Two kinds of pods: real worker processes, and scripts that write what a worker would, as fast as time passes."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edits import wire
from edits.errors import SamaflowError
from edits.job import ChunkFailure, Marker, Shard, ShardChunk, WorkerStatus
from edits.storage import Store, marker_path, output_path, status_path, valid_marker, withdrawn
from tasks.exits import exit_code
from tasks.shard import load_shard, shard_address
from tests.fakes.cluster.clock import Clock
from tests.fakes.cluster.controller import INDEX, Ended
from tests.fakes.cluster.objects import Json


def environ_of(pod: Json) -> dict[str, str]:
    """The container's variables, as the kubelet fills them in."""
    container = pod["spec"]["containers"][0]
    values = {"JOB_COMPLETION_INDEX": pod["metadata"]["labels"][INDEX]}
    for entry in container.get("env") or ():
        path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        values[entry["name"]] = pod["metadata"]["name"] if path == "metadata.name" else entry.get("value", "")
    return values


def arguments_of(pod: Json) -> list[str]:
    """The container's arguments, with `$(NAME)` filled in."""
    environ = environ_of(pod)
    arguments = list(pod["spec"]["containers"][0]["args"])
    for name, value in environ.items():
        arguments = [argument.replace(f"$({name})", value) for argument in arguments]
    return arguments


# -- real processes ---------------------------------------------------------------------------------------------------


class ProcessPods:
    """Each container is a real `samaflow-worker` with the variables of its pod."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        """What the workers print goes to files in `folder`; `environ` is what a Secret would give them."""
        self._folder = folder
        self._environ = environ or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._reasons: dict[str, str] = {}
        self.started: list[str] = []
        """Names of the pods that ever ran."""

    def start(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        scratch = self._folder / uid
        scratch.mkdir(parents=True)
        places = {"HOME": str(scratch), "TMPDIR": str(scratch)}
        environ = {**kept, **environ_of(pod), **places, **self._environ}
        command = [sys.executable, "-P", "-m", "tasks.gpu", *arguments_of(pod)]
        with (self._folder / f"{uid}.log").open("wb") as log:
            self._processes[uid] = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(pod["metadata"]["name"])

    def poll(self, uid: str) -> Ended | None:
        code = self._processes[uid].poll()
        if code is None:
            return None
        return Ended(128 - code if code < 0 else code, self._reasons.get(uid, "Error"))

    def terminate(self, uid: str) -> None:
        self._processes[uid].terminate()

    def kill(self, uid: str, reason: str = "Error") -> None:
        self._reasons[uid] = reason
        self._processes[uid].kill()

    def log(self, uid: str) -> str:
        return (self._folder / f"{uid}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


# -- scripts ----------------------------------------------------------------------------------------------------------


@dataclass
class Script:
    """What scripted workers do."""

    load_seconds: float = 10.0
    chunk_seconds: float = 20.0
    mishap: Callable[[ShardChunk], str] = lambda chunk: ""
    """Asked before each chunk: `transient`, `permanent`, `device_memory`, `crash`, `host_memory`, or nothing."""
    gpu_seconds: dict[str, float] = field(default_factory=dict)
    """What each pod has held its device for, by name, as its last status says."""
    edits: list[str] = field(default_factory=list)
    """Chunk keys in the order in which somebody edited them."""


class ScriptedPods:
    """Each container is a generator: it says how long it works until its next step."""

    def __init__(self, store: Store, clock: Clock, script: Script, seed: int = 0) -> None:
        self._store = store
        self._clock = clock
        self._script = script
        self._workers: dict[str, ScriptedWorker] = {}
        self._random = random.Random(seed)
        self.started: list[str] = []

    def start(self, pod: Json) -> None:
        pace = self._random.uniform(0.8, 1.2)
        worker = ScriptedWorker(self._store, self._clock, self._script, arguments_of(pod), environ_of(pod), pace)
        self._workers[pod["metadata"]["uid"]] = worker
        self.started.append(pod["metadata"]["name"])

    def poll(self, uid: str) -> Ended | None:
        return self._workers[uid].advance()

    def terminate(self, uid: str) -> None:
        self._workers[uid].end(143, say="stopped")

    def kill(self, uid: str, reason: str = "Error") -> None:
        self._workers[uid].end(137, reason=reason)

    def log(self, uid: str) -> str:
        return f"scripted worker {uid}\n"


class ScriptedWorker:
    """Writes status objects, outputs and markers in the order of the real worker."""

    def __init__(
        self, store: Store, clock: Clock, script: Script, arguments: list[str], environ: dict[str, str], pace: float
    ) -> None:
        options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        address = shard_address(arguments[0], environ, options["--indexes"])
        self._store = store
        self._clock = clock
        self._script = script
        self._pace = pace
        self._address = address
        self._name = options["--name"]
        self._attempt = int(options["--attempt"])
        self._since: float | None = None
        self._ended: Ended | None = None
        self._status = WorkerStatus(
            dispatch_id=address.dispatch_id, index=address.index, attempt=self._attempt, state="loading", done=(),
            edited=(), failed=(), current="", step=0, steps=0, gpu_seconds=0.0, device="", peak_memory_bytes=0,
            updated_at=0.0, exit_code=None, worker=self._name,
        )  # fmt: skip
        self._steps = self._work()
        self._wake = clock.now()

    def advance(self) -> Ended | None:
        while self._ended is None and self._clock.now() >= self._wake:
            seconds = next(self._steps, None)
            if seconds is None:
                break
            self._wake += seconds * self._pace
        return self._ended

    def end(self, code: int, reason: str = "Error", say: str = "") -> None:
        if self._ended is None:
            if say:
                self._say(state=say, exit_code=code)
            self._ended = Ended(code, reason)

    def _work(self) -> Iterator[float]:
        try:
            shard = load_shard(self._store, self._address)
        except SamaflowError:
            self.end(75)
            return
        missing = [chunk for chunk in shard.chunks if not self._marked(chunk)]
        self._say()
        if missing:
            self._since = self._clock.now()
            self._say(device="scripted")
            yield self._script.load_seconds
        for chunk in missing:
            if chunk.chunk_key in withdrawn(self._store, shard.dispatch_id) or self._marked(chunk):
                continue
            self._say(state="editing", current=chunk.chunk_key)
            yield self._script.chunk_seconds
            if not self._edit(shard, chunk, self._script.mishap(chunk)):
                return
        code = int(exit_code(self._status.failed))
        self._say(state="failed" if code else "done", exit_code=code)
        self.end(code)

    def _edit(self, shard: Shard, chunk: ShardChunk, mishap: str) -> bool:
        """Whether the worker still lives."""
        if mishap in ("crash", "host_memory"):
            self.end(137 if mishap == "host_memory" else 1, "OOMKilled" if mishap == "host_memory" else "Error")
            return False
        if mishap:
            category = {"transient": "store", "permanent": "instruction"}.get(mishap, mishap)
            failure = ChunkFailure(chunk.chunk_key, category, f"scripted: {mishap}", mishap != "permanent")
            self._say(failed=(*self._status.failed, failure))
            return True
        put_edited(self._store, shard, chunk, self._script.chunk_seconds * self._pace)
        self._script.edits.append(chunk.chunk_key)
        status = self._status
        self._say(done=(*status.done, chunk.chunk_key), edited=(*status.edited, chunk.chunk_key), current="")
        return True

    def _marked(self, chunk: ShardChunk) -> bool:
        if valid_marker(self._store, chunk.chunk_key) is None:
            return False
        if chunk.chunk_key not in self._status.done:
            self._status = replace(self._status, done=(*self._status.done, chunk.chunk_key))
        return True

    def _say(self, **changes: object) -> None:
        now = self._clock.now()
        held = 0.0 if self._since is None else round(now - self._since, 3)
        self._status = replace(self._status, gpu_seconds=held, updated_at=now, **changes)  # type: ignore[arg-type]
        path = status_path(self._address.dispatch_id, self._address.index, self._attempt, self._name)
        self._store.put_bytes(path, wire.dump(self._status))
        self._script.gpu_seconds[self._name] = held


def put_edited(store: Store, shard: Shard, chunk: ShardChunk, seconds: float) -> None:
    """A stand-in for an edited chunk, and its marker, which says that the edit took so many `seconds`."""
    data = f"edited {chunk.chunk_key}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    path = output_path(chunk.chunk_key, sha256)
    store.put_bytes(path, data)
    marker = Marker(
        chunk_key=chunk.chunk_key, output=path.rpartition("/")[2], sha256=sha256, size=len(data), frames=chunk.frames,
        width=chunk.width, height=chunk.height, editor=shard.editor, editor_version=shard.editor_version,
        weights_digest=shard.weights_digest, seed=chunk.seed, dispatch_id=shard.dispatch_id, seconds={"edit": seconds},
        peak_memory_bytes=1, device="scripted", versions={},
    )  # fmt: skip
    store.put_bytes(marker_path(chunk.chunk_key), wire.dump(marker))
