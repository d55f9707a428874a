"""`samaflow` as a person runs it: a process in a folder, against a Prefect server that the tests share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from edits.provenance import SIDECAR
from flows.cli import app

SAMAFLOW = Path(sys.executable).with_name("samaflow")


class Folder:
    """A working folder with a manifest, its own state and its own deliverables."""

    def __init__(self, path: Path, prefect_url: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAMAFLOW_", "PREFECT_"))}
        self.environ = {**kept, "PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(path / ".prefect")}
        self.environ["SAMAFLOW_REVIEW_PAGES"] = "off"
        """A second a job that only tests of the pages need."""

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Whatever is done to the folder meanwhile is undone."""
        kept = self.path.with_name(f"{self.path.name}.kept")
        shutil.copytree(self.path, kept)
        yield
        shutil.rmtree(self.path)
        kept.rename(self.path)

    def manifest(self, *rows: dict[str, object], name: str = "manifest.csv") -> Path:
        """Write the rows, whose keys are columns, as a CSV file."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [",".join(columns), *(",".join(_quoted(row.get(column, "")) for column in columns) for row in rows)]
        target = self.path / name
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return target

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [str(SAMAFLOW), *arguments]
        return subprocess.run(
            command, cwd=self.path, env=self.environ, capture_output=True, text=True, timeout=timeout, check=False
        )

    def json(self, *arguments: str, code: int = 0, timeout: float = 240) -> Any:
        """The command's JSON document; fails the test when it ends with another code."""
        done = self.run(*arguments, "--json", timeout=timeout)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """As `json`, of a command that only asks or tidies up: run in this process, which saves starting another."""
        with chdir(self.path):
            done = CliRunner().invoke(app, [*arguments, "--json"], env=self.environ)
        assert done.exit_code == code, f"exit {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout else None

    def edit(self, *arguments: str, code: int = 0, name: str = "manifest.csv", timeout: float = 240) -> Any:
        return self.json("edit", name, *arguments, code=code, timeout=timeout)

    def start(self, *arguments: str, new_session: bool = False) -> subprocess.Popen[str]:
        command, pipe = [str(SAMAFLOW), *arguments], subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.path, env=self.environ, stdout=pipe, stderr=pipe, text=True,
            start_new_session=new_session, preexec_fn=_interruptible,  # noqa: PLW1509 - it only sets a signal
        )  # fmt: skip

    def job_in(self, state: str, editor: str) -> str:
        """Id of a job of an editor that is in a state, "" while none is. Asked of SQLite itself: often, for little."""
        query = "SELECT max(job_id) FROM edit_job WHERE state = ? AND editor = ?"
        url = f"{(self.path / '.samaflow/samaflow.db').as_uri()}?mode=ro"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(url, uri=True)) as connection:
            return connection.execute(query, (state, editor)).fetchone()[0] or ""
        return ""  # there is no database yet, or no table

    def markers(self) -> set[str]:
        """Chunk keys that are edited."""
        return {path.parent.name for path in self.path.glob(".samaflow/store/chunks/*/result.json")}

    def deliverables(self) -> list[Path]:
        """The films themselves, without the credentials that lie beside some of them."""
        found = (self.path / "deliverables").glob("[!.]*")
        return sorted(path for path in found if not path.name.endswith(SIDECAR))


def _interruptible() -> None:
    """A suite in a shell's background inherits SIGINT as ignored, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL for a process and everything that it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def _quoted(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text
