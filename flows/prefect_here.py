"""The Prefect server of a run: the one that PREFECT_API_URL names, or one of its own for the length of this process."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from edits.errors import BusyError, SettingsError
from edits.settings import Settings

START_SECONDS = 120.0
"""A server on a slow disk takes most of a minute to make its database."""
_PR_SET_PDEATHSIG = 1
_FACTORY = "prefect.server.api.server:create_app"


@contextmanager
def prefect_for(settings: Settings) -> Iterator[None]:
    """A Prefect server to talk to inside the block. Prefect is imported there, not before: it reads the environment.

    Raises:
        SettingsError: no server answers at the address that PREFECT_API_URL names.
        BusyError: an own one did not come up, or the one that was there went away for good.
    """
    import httpx  # which Prefect speaks by

    _have_server(settings)
    try:
        yield
    except httpx.TransportError as error:
        raise BusyError(
            f"Prefect's server at {os.environ['PREFECT_API_URL']} is away ({error}). What is edited and delivered "
            "is kept, and `samaflow status` says what that is; when the server is back, the same command goes on"
        ) from error


def _have_server(settings: Settings) -> None:
    """The one that is named, that of a service here, or an own one. Raises as `prefect_for`."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")  # events that a server which is away never got
    _look_for_service(settings)
    if "PREFECT_API_URL" in os.environ:
        _require_server(os.environ["PREFECT_API_URL"])
        return
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(settings.state_folder / "prefect"))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE", "100")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    typer.echo("samaflow: starting Prefect's server for this run", err=True)
    os.environ["PREFECT_API_URL"] = _start_server()


def service_file(settings: Settings) -> Path:
    """Where a running `samaflow serve` says the address of its API, to commands in the same place."""
    return settings.state_folder / "serve" / "api_url"


def _look_for_service(settings: Settings) -> None:
    """Take the server of a running `samaflow serve` unless another one is named: two would share one database."""
    try:
        url = service_file(settings).read_text(encoding="utf-8").strip()
    except OSError:
        return
    if "PREFECT_API_URL" not in os.environ and _answers(url):
        os.environ["PREFECT_API_URL"] = url


def _start_server() -> str:
    """Start a server that ends with this process, and wait for it; its API's URL.

    Prefect starts one by itself, but in this process's group: Ctrl-C on a terminal would end it before the flow that
    has to tell it of its end.
    """
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", _FACTORY, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--log-level", "error", "--lifespan", "on"],
        env={**os.environ, "PREFECT_UI_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread runs here yet
    )
    atexit.register(server.terminate)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if server.poll() is not None:
            raise BusyError(f"Prefect's server ended with exit code {server.returncode} while it started; try again")
        if time.monotonic() > deadline:
            raise BusyError(
                f"Prefect's server did not answer within {START_SECONDS:g} s; is this machine overloaded? "
                "`prefect server start` starts one that stays: name it in PREFECT_API_URL"
            )
        time.sleep(0.1)
    return url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def die_with_parent() -> None:
    """However this process ends, the server goes with it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=10).close()
    except OSError:
        return False
    return True


def require_server(settings: Settings) -> None:
    """Of a command that needs one that is running: of `samaflow serve` here, or as PREFECT_API_URL says.

    Raises:
        SettingsError: none is named, or the one that is does not answer.
    """
    _look_for_service(settings)
    if "PREFECT_API_URL" not in os.environ:
        raise SettingsError(
            "no Prefect server runs here and none is named: start one with `samaflow serve`, or set PREFECT_API_URL to "
            "a running one (e.g. http://127.0.0.1:4200/api), or run the manifest here with `samaflow edit`"
        )
    _require_server(os.environ["PREFECT_API_URL"])


def _require_server(url: str) -> None:
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10).close()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"PREFECT_API_URL={url}: no Prefect server answers there ({error}). Start it with `prefect server start`, "
            "or unset the variable to use an embedded one."
        ) from error
