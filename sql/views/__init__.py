"""The views that answer questions, as SQL in files that both databases understand after one replacement.

A file that a released migration names is never changed: another answer is another file, in the folder of the revision
that replaces the view.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import Connection

FOLDER = Path(__file__).parent

_SECONDS = re.compile(r"SECONDS_BETWEEN\(([^,()]+), ([^,()]+)\)")
_NOW = "CURRENT_MOMENT"

_DIALECTS = {
    "sqlite": (r"ROUND((julianday(\2) - julianday(\1)) * 86400.0, 3)", "strftime('%Y-%m-%d %H:%M:%f000', 'now')"),
    "postgresql": (r"CAST(EXTRACT(EPOCH FROM (\2 - \1)) AS DOUBLE PRECISION)", "clock_timestamp()"),
}
"""The seconds between two moments, and this moment."""


def text_of(name: str, dialect: str, revision: str = "") -> str:
    """The view's SELECT in that dialect: the first one, or the one that came with `revision`."""
    between, now = _DIALECTS[dialect]
    written = (FOLDER / revision / f"{name}.sql").read_text(encoding="utf-8")
    return _SECONDS.sub(between, written).replace(_NOW, now)


def create_view(connection: Connection, name: str, revision: str = "") -> None:
    connection.exec_driver_sql(f"CREATE VIEW {name} AS\n{text_of(name, connection.dialect.name, revision)}")


def drop_view(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"DROP VIEW {name}")
