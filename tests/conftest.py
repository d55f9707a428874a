"""Fixtures that every kind of test may use."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sql
from sql.models import METADATA
from tests.fakes.postgresql import Server
from tests.fakes.recorded import library

os.environ["OMP_NUM_THREADS"] = "1"
"""Two test processes with two threads each would wait for one another; torch reads this when it is imported."""

SHARED = Path(__file__).resolve().parents[2] / "shared"

_NUMBERS = itertools.count(1)

NewAddress = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that at the end no test process waits for another's."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and real clips beside the project's root; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: recordings and real clips are needed for this test")
    return SHARED


# -- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server a test process. Its database `migrated` is only copied; `lent`, with the same tables, is emptied and
    lent to one test after the other."""
    server = Server()
    db = sql.connect(server.create("migrated"))
    sql.migrate(db)
    db.close()
    server.create("lent", "migrated")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with samaflow's tables, to be copied: migrating takes a second."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    sql.open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> NewAddress:
    """Makes URLs of new databases without tables; a test that asks for it runs on each kind of database."""
    if request.param == "sqlite":
        return lambda template="": f"sqlite:///{tmp_path}/{next(_NUMBERS)}.db"
    server: Server = request.getfixturevalue("postgresql")
    return lambda template="template1": server.create(f"test{next(_NUMBERS)}", template)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind with samaflow's tables and no rows, for tests that leave the tables alone."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "samaflow.db")
        return f"sqlite:///{tmp_path}/samaflow.db"
    server: Server = request.getfixturevalue("postgresql")
    server.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY", "lent")
    return server.url("lent")


@pytest.fixture
def db(address: str) -> Iterator[sql.Database]:
    """An open database of each kind, with the manifest and the source of `tests.fakes.recorded`."""
    opened = library(address)
    yield opened
    opened.close()
