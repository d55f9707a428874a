"""What a probe pod runs: can it use the store, and which weights lie in its volume? It prints one line of JSON.

It stands in for a worker, so that it finds what only a pod meets: network policies, identities, volumes.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edits.errors import SamaflowError
from edits.storage import Store
from sama_model.installed import installed


@dataclass(frozen=True)
class ProbeReport:
    """What a pod saw."""

    store: str
    """Why the store cannot be used from there; empty when it can."""
    weights: dict[str, str]
    """Digest by name of what lies in the weights folder."""
    problem: str = ""
    """Why the weights folder, or a card in it, cannot be read; empty when they can."""


def probe(store_uri: str, weights_folder: Path) -> ProbeReport:
    """Write, read and delete an object of the store, and read the cards of the weights."""
    try:
        there = installed(weights_folder)
    except OSError as error:
        return ProbeReport(_store_trouble(store_uri), {}, str(error))
    found = {name: weights.card.digest for name, weights in there.weights.items()}
    problem = "; ".join(str(error) for error in there.broken.values())
    if not weights_folder.is_dir():
        problem = f"there is no folder {weights_folder}"
    return ProbeReport(_store_trouble(store_uri), found, problem)


def _store_trouble(uri: str) -> str:
    path = f"doctor/{uuid.uuid4().hex}"
    try:
        store = Store(uri, pauses=(1.0, 3.0))
        store.put_bytes(path, b"probe")
        read = store.read(path)
        store.delete(path)
    except SamaflowError as error:
        return str(error)
    return "" if read == b"probe" else f"{path}: what was written is not what was read"


def main(argv: Sequence[str]) -> int:
    """`python -m tasks.probe STORE_URI`; the exit code is always 0, so that no Job repeats it."""
    report = probe(argv[0], Path(os.environ.get("SAMAFLOW_WEIGHTS_FOLDER", "/weights")))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
