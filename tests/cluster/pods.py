"""Pods of the double that run their container's command on this machine, as a small image would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.cluster.controller import INDEX, JOB, Ended
from tests.fakes.cluster.objects import Json


class CommandPods:
    """Runs each container's command and arguments with the variables of its pod; `environ` overrules them."""

    def __init__(self, logs: Path, environ: Mapping[str, str] | None = None) -> None:
        self._logs = logs
        self._environ = environ or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: Counter[tuple[str, str]] = Counter()

    def start(self, pod: Json) -> None:
        uid, labels = pod["metadata"]["uid"], pod["metadata"]["labels"]
        place = (labels[JOB], labels[INDEX])
        container = pod["spec"]["containers"][0]
        given = {entry["name"]: entry["value"] for entry in container.get("env") or () if "value" in entry}
        counted = {"JOB_COMPLETION_INDEX": labels[INDEX], "FAILURES": str(self._starts[place])}
        command = [*container["command"], *container.get("args", ())]
        command[0] = {"python": sys.executable}.get(command[0], command[0])
        self._starts[place] += 1
        with (self._logs / uid).open("wb") as log:
            self._processes[uid] = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], **given, **counted, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def poll(self, uid: str) -> Ended | None:
        code = self._processes[uid].poll()
        return None if code is None else Ended(128 - code if code < 0 else code)

    def terminate(self, uid: str) -> None:
        self._processes[uid].terminate()

    def kill(self, uid: str, reason: str = "Error") -> None:
        self._processes[uid].kill()

    def log(self, uid: str) -> str:
        return (self._logs / uid).read_text(encoding="utf-8")

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes.values():
            process.kill()
            process.wait()
