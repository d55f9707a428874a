"""`samaflow serve`: Prefect server, deployments, a worker and the review pages on one machine, as one process tree.

Stopping it, in whatever way, loses nothing: flow runs that were in work are put back in line at the next start and go
on from the store, chunk by chunk.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import typer

import sql
from edits.errors import BusyError, PermanentError, SettingsError, shortened
from edits.settings import Settings, redacted
from flows.prefect_here import die_with_parent, service_file

START_SECONDS = 180.0
"""A Prefect server on a slow disk takes most of a minute to make its database."""
STOP_SECONDS = 20.0
POLL_SECONDS = 0.5

EVERYWHERE = "0.0.0.0"
"""The host that stands for all addresses of this machine."""
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception)\b: .+", re.MULTILINE)
"""The last line of a traceback."""
DATABASES = ("sqlite+aiosqlite://", "postgresql+asyncpg://")
"""Those that Prefect can use."""


@dataclass(frozen=True)
class Service:
    """Where it listens and what it may do at once."""

    host: str = "127.0.0.1"
    port: int = 4200
    """Of the Prefect server."""
    pages_port: int = 4201
    runs: int = 2
    """Flow runs at once."""
    database: str = ""
    """Prefect's own: a SQLAlchemy URL (sqlite+aiosqlite or postgresql+asyncpg); empty: SQLite in the state folder."""

    @property
    def ui(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def pages(self) -> str:
        return f"http://{self.address}:{self.pages_port}"

    @property
    def address(self) -> str:
        """What links name: of all addresses the one by which other machines reach this one."""
        return own_address() if self.host == EVERYWHERE else self.host


def serve(settings: Settings, service: Service) -> None:
    """Start everything, say where it is, and wait until asked to stop (Ctrl-C or SIGTERM).

    Raises:
        DatabaseError: samaflow's own database does not answer, or has no tables.
        SettingsError: a port that is taken, an address that is not this machine's, a database that Prefect cannot use.
        PermanentError: a part that ended by itself; the message names its log.
        BusyError: the Prefect server did not come up in time, or another `samaflow serve` works in this folder.
    """
    _check_database(service.database)
    sql.open_database(settings.database).close()  # what is wrong with it is said here, and not by every run
    if service.port == service.pages_port:
        raise SettingsError(f"--pages-port: {service.pages_port} is the Prefect server's --port; give another one")
    with alone(settings, service):
        for port in (service.port, service.pages_port):
            _require_free(service.host, port)
        _serve(settings, service)


def _serve(settings: Settings, service: Service) -> None:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    parts = _Parts(settings.state_folder / "serve")
    try:
        _start(settings, service, parts, stopping)
        service_file(settings).write_text(f"{service.ui}/api\n", encoding="utf-8")
        while not stopping.wait(POLL_SECONDS):
            parts.require_all()
    finally:
        service_file(settings).unlink(missing_ok=True)
        parts.stop()


def _start(settings: Settings, service: Service, parts: _Parts, stopping: threading.Event) -> None:
    environ = environment(settings, service)
    address = ["--host", service.host, "--port"]
    parts.start("server", ["-m", "flows.prefect_server", "server", "start", *address, str(service.port)], environ)
    parts.start("pages", ["-m", "flows.cli", "pages", *address, str(service.pages_port)], environ)
    _await(f"{service.ui}/api/health", parts, stopping)
    _await(f"{service.pages}/health", parts, stopping)
    if stopping.is_set():
        return
    os.environ.update(environ)
    from flows.deployments import POOL, register, resume

    names = register(Path.cwd())
    resumed = resume()
    worker = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", "samaflow"]
    parts.start("worker", [*worker, "--limit", str(service.runs)], environ)
    if service.host == EVERYWHERE:
        typer.echo(
            f"It listens on every address of this machine; links name it {service.address}. Whoever reaches it may "
            "use it, unless PREFECT_SERVER_API_AUTH_STRING asks for a password."
        )
    typer.echo(f"Prefect UI    {service.ui}  ({len(names)} deployments)")
    typer.echo(f"review pages  {service.pages}")
    typer.echo(f"health        {service.pages}/metrics (Prometheus)")
    if resumed:
        typer.echo(f"{resumed} flow runs go on where they stopped")
    typer.echo(f"logs          {parts.folder}")
    typer.echo("Ctrl-C stops it; what is going on then goes on at the next start.")


def environment(settings: Settings, service: Service) -> dict[str, str]:
    """What the parts are told. What the caller's environment sets for Prefect holds."""
    defaults = {
        "PREFECT_HOME": str(settings.state_folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "30",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        "PREFECT_WORKER_QUERY_SECONDS": "3",
    }
    auth = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    told = {
        "PREFECT_API_URL": f"{service.ui}/api",
        "SAMAFLOW_HOME": str(Path.cwd()),
        "SAMAFLOW_REVIEW_URL": settings.review_url or service.pages,
        **({"PREFECT_API_AUTH_STRING": auth} if auth else {}),
        **({"PREFECT_SERVER_DATABASE_CONNECTION_URL": service.database} if service.database else {}),
    }
    return {**defaults, **os.environ, **told}


# -- processes --------------------------------------------------------------------------------------------------------


class _Parts:
    """The processes of the service, each with a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us alone; we stop the parts in order
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread runs here yet
            )

    def require_all(self) -> None:
        """
        Raises:
            PermanentError: one has ended.
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self.folder / f"{name}.log"
                raise PermanentError(
                    f"the {name} ended with exit code {process.returncode}{_last_error(log)}: its log is {log}"
                )

    def stop(self) -> None:
        """The worker and its flow runs at once, so that none reports a failure that is none; the others in peace."""
        worker = self._processes.pop("worker", None)
        if worker is not None:
            _kill_tree(worker)
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _kill_tree(process)


def _last_error(log: Path) -> str:
    """The last exception in a log, in brackets, with a space before."""
    found = _ERROR.findall(log.read_text(encoding="utf-8", errors="replace"))
    return f" ({shortened(redacted(found[-1]), 200)})" if found else ""


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    try:
        whole = psutil.Process(process.pid)
        family = [whole, *whole.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


# -- one a folder ------------------------------------------------------------------------------------------------------


@contextmanager
def alone(settings: Settings, service: Service) -> Iterator[None]:
    """Inside, no other `samaflow serve` works in this folder: two would share one database, and each other's runs.

    Raises:
        BusyError: one does; the message names it.
    """
    folder = settings.state_folder / "serve"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise BusyError(
                f"`samaflow serve` runs in this folder already: {lock.read() or 'it is just starting'}. Use that one, "
                "or stop it first, or start this one in another folder"
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {service.ui}")
        lock.flush()
        yield


# -- addresses --------------------------------------------------------------------------------------------------------


def own_address() -> str:
    """This machine's address towards others; 127.0.0.1 where it has none. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # kept for documentation (RFC 5737): only the way there is asked for
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address


def _check_database(url: str) -> None:
    if url and not url.startswith(DATABASES):
        raise SettingsError(
            f"--prefect-database {redacted(url)}: Prefect cannot use it. Write sqlite+aiosqlite:////folder/prefect.db "
            "or postgresql+asyncpg://user:password@host/name, or leave it out for SQLite in this folder"
        )


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise SettingsError(f"--host {host}: is no address of this machine ({error.strerror})") from error
        except OSError as error:
            raise SettingsError(
                f"{host}:{port}: cannot be listened on: {error.strerror}. Is `samaflow serve` running already? Give "
                "other ports with --port and --pages-port."
            ) from error


def _await(url: str, parts: _Parts, stopping: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not stopping.wait(POLL_SECONDS):
        parts.require_all()
        if _answers(url):
            return
        if time.monotonic() > deadline:
            raise BusyError(f"{url}: no answer within {START_SECONDS:g} s; the logs are in {parts.folder}")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == 401  # It is up, and asks who we are.
    except OSError:
        return False
    return True
