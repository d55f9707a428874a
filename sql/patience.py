"""Waiting out a database that is locked, restarting or unreachable, for as long as its `patience` says."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import exc

from edits.errors import BusyError
from sql.session import Database

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


def patient(function: Callable[Concatenate[Database, P], T]) -> Callable[Concatenate[Database, P], T]:
    """Call `function` again while the database itself is the trouble. Its transaction was rolled back each time.

    What another flow holds (a lease, a dispatch) is not waited for here: that is the caller's to decide.
    """

    @functools.wraps(function)
    def insist(db: Database, /, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + db.patience
        pause = FIRST_PAUSE
        while True:
            try:
                return function(db, *args, **kwargs)
            except BusyError as error:
                if not isinstance(error.__cause__, exc.SQLAlchemyError) or time.monotonic() + pause > deadline:
                    raise
                log.warning("%s; waiting %.1f s", error, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    return insist
