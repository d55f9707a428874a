"""Which code this is: the package's version, and the commit when it runs from a checkout."""

from __future__ import annotations

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path


@cache
def code_version() -> str:
    """E.g. `0.1.0` or `0.1.0+3f2a9c1d`; `.dirty` is appended when files differ from the commit."""
    version = importlib.metadata.version("samaflow")
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=.dirty", "--exclude=*", "--abbrev=8"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{found}"
