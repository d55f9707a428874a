"""The environment of an embedded Prefect server: what it must be told before Prefect is imported."""

from __future__ import annotations

import os
import urllib.request

from edits.errors import SettingsError
from edits.settings import Settings


def prepare_prefect(settings: Settings) -> None:
    """Environment for an embedded Prefect server, unless a running one is named. To be called before Prefect loads."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if "PREFECT_API_URL" in os.environ:
        _require_server(os.environ["PREFECT_API_URL"])
        return
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(settings.state_folder / "prefect"))
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE", "100")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")


def require_server() -> None:
    """Of a command that needs one that is running.

    Raises:
        SettingsError: none is named, or the one that is does not answer.
    """
    if "PREFECT_API_URL" not in os.environ:
        raise SettingsError(
            "no Prefect server is named: set PREFECT_API_URL to a running one (e.g. http://127.0.0.1:4200/api), "
            "or run the manifest here with `samaflow edit`"
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
