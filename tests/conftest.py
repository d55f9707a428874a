"""Fixtures that every kind of test may use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sql
from tests.fakes.postgresql import Server
from tests.fakes.recorded import library

os.environ["OMP_NUM_THREADS"] = "1"
"""Two test processes with two threads each would wait for one another; torch reads this when it is imported."""

SHARED = Path(__file__).resolve().parents[2] / "shared"

_NUMBERS = itertools.count(1)

NewAddress = Callable[..., str]


@pytest.fixture
def shared() -> Path:
    """The folder of recordings and real clips beside the project's root; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: recordings and real clips are needed for this test")
    return SHARED


# -- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server a test process. Its database `migrated` has samaflow's tables and is only copied."""
    server = Server()
    db = sql.connect(server.create("migrated"))
    sql.migrate(db)
    db.close()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> NewAddress:
    """Makes URLs of new databases without tables; a test that asks for it runs on each kind of database."""
    if request.param == "sqlite":
        return lambda template="": f"sqlite:///{tmp_path}/{next(_NUMBERS)}.db"
    server: Server = request.getfixturevalue("postgresql")
    return lambda template="template1": server.create(f"test{next(_NUMBERS)}", template)


@pytest.fixture
def address(new_address: NewAddress) -> str:
    """The URL of a new database with samaflow's tables."""
    url = new_address("migrated")
    if url.startswith("sqlite:"):
        sql.open_database(url).close()
    return url


@pytest.fixture
def db(address: str) -> Iterator[sql.Database]:
    """An open database of each kind, with the manifest and the source of `tests.fakes.recorded`."""
    opened = library(address)
    yield opened
    opened.close()
