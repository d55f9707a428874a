"""The connection: what SQLite is told, and what an unusable database says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import make_url

import sql
from edits.errors import BusyError, DatabaseError, SamaflowError
from sql.models import Manifest
from sql.translation import shown, translated
from tests.fakes.recorded import edit_job, library


def address(folder: Path) -> str:
    return f"sqlite:///{folder}/samaflow.db"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sql.Database]:
    opened = library(address(tmp_path))
    yield opened
    opened.close()


def test_sqlite_is_in_wal_mode_with_foreign_keys_on(db: sql.Database) -> None:
    with db.read() as session:
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1


def test_a_write_transaction_locks_before_it_reads(db: sql.Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "samaflow.db", timeout=0, isolation_level=None)
    with db.write() as session:
        assert session.get(Manifest, "none") is None
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()


def test_a_write_transaction_that_raises_leaves_nothing(db: sql.Database) -> None:
    with pytest.raises(RuntimeError, match="midway"):
        _stop_midway(db)
    with db.read() as session:
        assert session.get(Manifest, "half") is None


def _stop_midway(db: sql.Database) -> None:
    with db.write() as session:
        session.add(Manifest(manifest_id="half", name="half.csv", sha256="0" * 64, rows=1))
        session.flush()
        raise RuntimeError("midway")


def test_readers_do_not_wait_for_a_writer(db: sql.Database, tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "samaflow.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert sql.jobs(db) == ()
    writer.close()


def test_a_time_kept_by_the_database_is_comparable_with_one_of_ours(db: sql.Database) -> None:
    record = sql.record_job(db, edit_job())
    later = sql.jobs(db)[0].updated_at
    assert record.created_at <= later
    assert (later.utcoffset(), later.microsecond % 1000) == (record.created_at.utcoffset(), 0)


# -- a database that cannot be used -----------------------------------------------------------------------------------


def test_a_database_that_another_process_keeps_locked_is_busy_and_worth_a_retry(tmp_path: Path) -> None:
    library(address(tmp_path)).close()
    db = sql.open_database(address(tmp_path), busy_seconds=0.05)
    other = sqlite3.connect(tmp_path / "samaflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match=r"samaflow.db is locked by another process: try again"):
        sql.record_job(db, edit_job())
    other.execute("ROLLBACK")
    sql.record_job(db, edit_job())
    other.close()
    db.close()


def test_a_read_only_database_says_what_to_make_writable(tmp_path: Path) -> None:
    library(address(tmp_path)).close()
    db = sql.connect(f"sqlite:///file:{tmp_path}/samaflow.db?mode=ro&uri=true")
    with pytest.raises(DatabaseError, match="make the file and its folder writable"):
        sql.record_manifest(db, "b" * 16, "m.csv", "0" * 64, 1)
    db.close()


def test_a_full_disk_is_named_and_nothing_is_half_written(tmp_path: Path) -> None:
    db = library(address(tmp_path))
    with db.read() as session:
        pages = session.scalar(sa.text("PRAGMA page_count"))
        session.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(DatabaseError, match="the disk is full: free some space"):
        sql.record_manifest(db, "b" * 16, "m" * 100_000, "0" * 64, 1)
    with db.read() as session:
        assert session.get(Manifest, "b" * 16) is None
    db.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samaflow.db").write_text("source,instruction\n" * 100)
    with pytest.raises(DatabaseError, match="is not an SQLite file"):
        sql.open_database(address(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="file/below cannot be made: Not a directory"):
        sql.open_database(f"sqlite:///{tmp_path}/file/below/samaflow.db")


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened"):
        sql.open_database(f"sqlite:///{tmp_path}")


def test_missing_tables_name_the_command_that_makes_them(tmp_path: Path) -> None:
    db = sql.connect(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(DatabaseError, match=r"no such table.*samaflow doctor --migrate"):
        sql.jobs(db)
    db.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not a url with hunter2", "cannot be read: write sqlite:"),
        ("postgresql://u:hunter2@h:port/x", "cannot be read: write sqlite:"),
        ("mysql://u:hunter2@h/x", "is not supported: use a sqlite or a postgresql URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://u:hunter2@h/x?password=hunter2", r"begin its URL with postgresql\+psycopg://"),
        ("postgresql+asyncpg://u:hunter2@h/x", r"begin its URL with postgresql\+psycopg://"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_write_and_shows_no_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message) as caught:
        sql.open_database(url)
    shown_to_people = f"{caught.value} {caught.value.__cause__} {caught.value.__suppress_context__ or 'context'}"
    assert "hunter2" not in shown_to_people


class _ServerError(Exception):
    """What a PostgreSQL driver raises: the SQLSTATE beside the message."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the server's words")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("55P03", BusyError),
        ("40P01", BusyError),
        ("57P03", BusyError),
        ("08006", BusyError),
        (None, BusyError),
        ("53300", BusyError),
        ("53100", DatabaseError),
        ("28P01", DatabaseError),
        ("3D000", DatabaseError),
        ("25006", DatabaseError),
    ],
)
def test_a_servers_state_decides_whether_trying_again_can_help(sqlstate: str | None, kind: type[SamaflowError]) -> None:
    url = make_url("postgresql://u:hunter2@h/x?sslpassword=hunter2")
    with pytest.raises(kind) as caught, translated(url):
        raise exc.OperationalError("SELECT", {}, _ServerError(sqlstate))
    assert type(caught.value) is kind
    assert "hunter2" not in str(caught.value)


def test_an_address_is_shown_without_its_password() -> None:
    assert shown(make_url("postgresql://u:hunter2@h/x?sslpassword=hunter2")) == "postgresql://u:***@h/x"
