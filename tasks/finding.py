"""What `samaflow doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `level` is `fine`, `warning` or `broken`."""

    subject: str
    level: str
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
