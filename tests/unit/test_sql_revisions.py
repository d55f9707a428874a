"""Opening and migrating: models and migrations agree, and no database is migrated behind anybody's back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import sql
from edits.errors import DatabaseError
from sql.models import METADATA
from sql.revisions import config, head
from tests.fakes.recorded import edit_job, library, marker, recorded_job


def address(folder: Path, name: str = "samaflow.db") -> str:
    return f"sqlite:///{folder}/{name}"


def made_by_models(folder: Path) -> sql.Database:
    db = sql.connect(address(folder, "models.db"))
    with db.write() as session:
        METADATA.create_all(session.connection())
    return db


def statements(db: sql.Database) -> dict[str, list[str]]:
    """The columns and constraints of every CREATE statement, by its name; their order does not matter."""
    with db.read() as session:
        rows = session.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {name: _clauses(text) for name, text in rows if name != "alembic_version"}


def _clauses(text: str) -> list[str]:
    return sorted(line.strip().rstrip(",") for line in text.splitlines())


def at_revision(folder: Path, revision: str) -> None:
    sql.open_database(address(folder)).close()
    with sqlite3.connect(folder / "samaflow.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    raw.close()


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    db = sql.open_database(address(tmp_path))
    with db.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, METADATA) == []
    db.close()


def test_migrations_make_the_very_tables_of_the_models_checks_and_defaults_included(tmp_path: Path) -> None:
    migrated, modelled = sql.open_database(address(tmp_path)), made_by_models(tmp_path)
    assert statements(migrated) == statements(modelled)
    migrated.close()
    modelled.close()


def test_every_constraint_and_index_has_a_name_of_the_convention() -> None:
    prefixes = ("pk_", "fk_", "uq_", "ck_", "ix_")
    for table in METADATA.tables.values():
        names = [str(item.name) for item in table.constraints] + [str(item.name) for item in table.indexes]
        assert all(name.startswith(prefixes) for name in names), table.name


def test_migrations_run_up_down_and_up_again_with_rows_in_the_tables(tmp_path: Path) -> None:
    db = library(tmp_path)
    recorded_job(db)
    sql.record_chunk_done(db, marker("a"))
    before = statements(db)
    with db.write() as session:
        command.downgrade(config(session.connection()), "base")
    assert (statements(db), sql.revision(db)) == ({}, None)
    sql.migrate(db)
    assert (statements(db), sql.revision(db)) == (before, head())
    db.close()


def test_a_new_file_gets_its_folder_and_its_tables(tmp_path: Path) -> None:
    db = sql.open_database(address(tmp_path / "new" / "folder"))
    assert sql.revision(db) == head()
    assert sql.jobs(db) == ()
    db.close()


def test_what_was_recorded_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    library(tmp_path).close()
    db = sql.open_database(address(tmp_path))
    sql.record_job(db, edit_job())
    assert len(sql.jobs(db)) == 1
    db.close()


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "samaflow.db").touch()
    db = sql.open_database(address(tmp_path))
    assert sql.revision(db) == head()
    db.close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    at_revision(tmp_path, "9999")
    with pytest.raises(DatabaseError, match=r"revision 9999, which this samaflow does not know: .*update samaflow"):
        sql.open_database(address(tmp_path))
    db = sql.connect(address(tmp_path))
    with pytest.raises(DatabaseError, match="update samaflow"):
        sql.migrate(db)
    assert sql.revision(db) == "9999"
    db.close()


def test_an_older_database_is_refused_naming_the_command_that_migrates_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.open_database(address(tmp_path)).close()
    monkeypatch.setattr("sql.revisions.head", lambda: "0002")
    with pytest.raises(DatabaseError, match=r"at revision 0001, this samaflow needs 0002: .*doctor --migrate"):
        sql.open_database(address(tmp_path))


def test_another_programs_database_is_refused_and_gets_no_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "samaflow.db") as raw:
        raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    with pytest.raises(DatabaseError, match="has no tables of samaflow's"):
        sql.open_database(address(tmp_path))
    db = sql.connect(address(tmp_path))
    assert set(statements(db)) == {"theirs"}
    db.close()


def test_migrating_a_database_at_the_head_changes_nothing(tmp_path: Path) -> None:
    db = library(tmp_path)
    recorded_job(db)
    sql.migrate(db)
    assert len(sql.jobs(db)) == 1
    db.close()
