"""Which code this is: the package's version, the commit when it runs from a checkout, and what is installed with it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
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


@cache
def packages() -> Mapping[str, str]:
    """Every installed distribution and Python itself, name to version, sorted."""
    found = {
        distribution.metadata["Name"].lower().replace("_", "-"): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    return dict(sorted({**found, "python": platform.python_version()}.items()))


def lock_digest(installed: Mapping[str, str]) -> str:
    """sha256 over the lines `name==version`."""
    lines = "".join(f"{name}=={version}\n" for name, version in installed.items())
    return hashlib.sha256(lines.encode()).hexdigest()
