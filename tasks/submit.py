"""Handing a manifest to a running Prefect server: with back-off, because many submitters at once lock a small one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edits.errors import BusyError, ManifestError, SettingsError
from edits.settings import Settings

MOST_TEXT = 400_000
"""Bytes of a manifest that travels as a parameter: Prefect takes half a megabyte of them."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each further attempt; each is varied by half, so that submitters spread out."""


@dataclass(frozen=True)
class Submission:
    """A flow run that was made. Part of the `--json` output: fields are added, never renamed."""

    flow_run_id: str
    url: str
    """Where the run is shown."""
    deployment: str


def hand_over(settings: Settings, path: Path, data: bytes) -> dict[str, str]:
    """How the flow gets the manifest: with an S3 store it runs elsewhere and is given the text, else the path.

    Raises:
        ManifestError: it is too long to be given as text.
    """
    if not settings.store.startswith("s3:"):
        return {"manifest": str(path)}
    if len(data) > MOST_TEXT:
        raise ManifestError(
            f"{path}: {len(data)} bytes are too many to hand over. Copy it to a place that the flow sees, and run the "
            "deployment with its URI, or submit it in parts."
        )
    return {"text": data.decode("utf-8-sig", "replace")}


def submit(
    deployment: str,
    parameters: Mapping[str, Any],
    key: str,
    pause: Callable[[float], None] = time.sleep,
) -> Submission:
    """Make a flow run of a deployment; made again with the same `key`, it is the same run.

    Raises:
        SettingsError: there is no such deployment.
        BusyError: the server did not take it, after all pauses.
    """
    for seconds in PAUSES:
        try:
            return _once(deployment, parameters, key)
        except BusyError:
            pause(seconds * random.uniform(0.5, 1.5))
    return _once(deployment, parameters, key)


def _once(deployment: str, parameters: Mapping[str, Any], key: str) -> Submission:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.urls import url_for

    given = {name: value for name, value in parameters.items() if value is not None}
    try:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(found.id, parameters=given, idempotency_key=key)
    except ObjectNotFound as error:
        raise SettingsError(
            f"the server has no deployment '{deployment}': register it with `prefect deploy`, or give --deployment"
        ) from error
    except httpx.HTTPError as error:
        raise BusyError(f"Prefect's server did not take the manifest: {type(error).__name__}: {error}") from error
    return Submission(str(run.id), url_for(run) or "", deployment)
