"""200 videos handed by 20 clients at once to one `samaflow serve`, and beside it what Prefect's own API takes.

Each client runs `samaflow submit` with a manifest of ten videos, or with `--manifests 200` ten times with one of one
video; the flow runs wait in line. Printed: how many were accepted, how many of these the server holds afterwards, the
time, how long the UI took to answer meanwhile; then the flow runs that as many threads make by plain API calls.
Allowed: all accepted, none lost, the UI always answered, within five minutes on SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.clips import write_clip

SAMAFLOW = Path(sys.executable).with_name("samaflow")
ALLOWED_SECONDS = 300.0


@dataclass(frozen=True)
class Server:
    """A running `samaflow serve` in a folder."""

    folder: Path
    ui: str

    @property
    def environ(self) -> dict[str, str]:
        return {**_clean(), "PREFECT_API_URL": f"{self.ui}/api"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--videos", type=int, default=200, help="of all manifests together")
    parser.add_argument("--manifests", type=int, default=20, help="of all clients together")
    parser.add_argument("--plain", type=int, default=200, help="plain API calls")
    parser.add_argument("--prefect-database", default="", help="Prefect's database URL; empty: SQLite")
    asked = parser.parse_args(arguments)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), asked.prefect_database) as server:
        write_clip(server.folder / "clip.mp4", frames=24)
        write_manifests(server, asked.manifests, asked.videos // asked.manifests)
        passed = submit_all(server, asked.clients, asked.manifests)
        plain_calls(server, asked.clients, asked.plain)
        print(f"load average {os.getloadavg()[0]:.1f}")
    return 0 if passed else 1


# -- the service ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, database: str) -> Iterator[Server]:
    """`samaflow serve` on free ports until the block ends."""
    port, pages = _free_port(), _free_port()
    ports = ["--port", str(port), "--pages-port", str(pages)]
    command = [str(SAMAFLOW), "serve", *ports, "--runs", "1", "--prefect-database", database]
    began = time.monotonic()
    service = subprocess.Popen(command, cwd=folder, env=_clean(), stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        if not any("Ctrl-C stops it" in line for line in service.stdout):
            raise SystemExit("samaflow serve did not come up")
        print(f"samaflow serve: ready after {time.monotonic() - began:.0f} s")
        yield Server(folder, f"http://127.0.0.1:{port}")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SAMAFLOW_", "PREFECT_"))}


# -- submitting -------------------------------------------------------------------------------------------------------


def write_manifests(server: Server, manifests: int, rows: int) -> None:
    """Manifests of `rows` videos each, no two rows alike."""
    for number in range(manifests):
        lines = [f"clip.mp4,turn it sepia,grade,{number * rows + row}" for row in range(rows)]
        _manifest(server, number).write_text("\n".join(["source,instruction,editor,seed", *lines, ""]))


def _manifest(server: Server, number: int) -> Path:
    return server.folder / f"manifest-{number}.csv"


def submit_all(server: Server, clients: int, manifests: int) -> bool:
    """Have the clients submit all manifests; print what became of them, and return whether that is as it should be."""
    stopping = threading.Event()
    waits: list[float] = []
    watcher = threading.Thread(target=_watch, args=(server, stopping, waits))
    watcher.start()
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        accepted = {run for run in pool.map(lambda number: _submit(server, number), range(manifests)) if run}
    seconds = time.monotonic() - began
    stopping.set()
    watcher.join()
    lost = len(accepted - set(_runs(server)))
    print(
        f"samaflow submit, {clients} clients: {len(accepted)} of {manifests} accepted in {seconds:.0f} s, {lost} lost"
    )
    print(f"allowed: all, none lost, {ALLOWED_SECONDS:.0f} s")
    answered = [wait for wait in waits if wait >= 0]
    slow = f"median {statistics.median(answered):.2f} s, slowest {max(answered):.2f} s" if answered else "never"
    print(f"the UI's list of runs meanwhile: answered {len(answered)} of {len(waits)} times, {slow}")
    return len(accepted) == manifests and not lost and seconds <= ALLOWED_SECONDS and len(answered) == len(waits)


def _submit(server: Server, number: int) -> str:
    """One client's command; returns the id of the flow run, or nothing when it was refused."""
    command = [str(SAMAFLOW), "submit", _manifest(server, number).name, "--json"]
    done = subprocess.run(command, cwd=server.folder, env=server.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return ""
    return str(json.loads(done.stdout)["flow_run_id"])


def _watch(server: Server, stopping: threading.Event, waits: list[float]) -> None:
    """Ask for what the UI's list of runs shows, every two seconds; -1 stands for no answer within a minute."""
    while not stopping.wait(2):
        began = time.monotonic()
        try:
            _ask(server, "flow_runs/paginate", {"limit": 10, "page": 1})
        except OSError:
            waits.append(-1)
        else:
            waits.append(time.monotonic() - began)


def _runs(server: Server) -> Iterator[str]:
    """Ids of all flow runs that were made by hand."""
    offset = 0
    while page := _ask(server, "flow_runs/filter", {"limit": 200, "offset": offset, "sort": "ID_DESC"}):
        yield from (run["id"] for run in page)
        offset += len(page)


# -- plain calls ------------------------------------------------------------------------------------------------------


def plain_calls(server: Server, threads: int, runs: int) -> None:
    """What the API takes without any client's start and without back-off: `POST create_flow_run`, as many at once."""
    deployment = _ask(server, "deployments/name/edit-manifest/edit-manifest")["id"]
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        answers = Counter(pool.map(lambda number: _create(server, deployment), range(runs)))
    seconds = time.monotonic() - began
    told = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
    print(f"plain API calls, {threads} at once: {told} in {seconds:.0f} s, {answers['made'] / seconds:.1f} a second")


def _create(server: Server, deployment: str) -> str:
    asked = {"parameters": {"text": "source,instruction\nclip.mp4,turn it sepia\n"}}
    try:
        _ask(server, f"deployments/{deployment}/create_flow_run", asked)
    except urllib.error.HTTPError as error:
        return f"answered with {error.code}"
    except OSError:
        return "not answered"
    return "made"


def _ask(server: Server, path: str, asked: object = None) -> Any:
    data = None if asked is None else json.dumps(asked).encode()
    request = urllib.request.Request(f"{server.ui}/api/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
