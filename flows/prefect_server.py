"""Prefect's own command line, but on SQLite whatever may write takes the write lock as it begins: for `samaflow serve`.

Prefect begins such transactions DEFERRED: one that has read, and writes after another has written, fails at once
(SQLITE_BUSY_SNAPSHOT, for which no time-out holds). Its own client tries again; its UI shows "Something went wrong",
and of twenty clients at once few get through. Begun IMMEDIATE they wait for their turn, up to Prefect's minute. Where a
later Prefect has no such method, this fails as it starts.
"""

from __future__ import annotations

from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration

_begin = AioSqliteConfiguration.begin_transaction


def begin_immediate(self: AioSqliteConfiguration, session: Any, with_for_update: bool = False) -> Any:
    """As Prefect's, with the lock whether it is asked for or not."""
    return _begin(self, session, with_for_update=True)


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = begin_immediate  # type: ignore[method-assign]
    app()
