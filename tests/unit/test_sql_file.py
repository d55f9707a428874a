"""A new SQLite file is made with its tables at once: on one machine there is nothing to set up."""

from __future__ import annotations

from pathlib import Path

import sql
from sql.revisions import head


def test_a_new_file_gets_its_folder_and_its_tables(tmp_path: Path) -> None:
    db = sql.open_database(f"sqlite:///{tmp_path}/new/folder/samaflow.db")
    assert sql.revision(db) == head()
    assert sql.jobs(db) == ()
    db.close()


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "samaflow.db").touch()
    db = sql.open_database(f"sqlite:///{tmp_path}/samaflow.db")
    assert sql.revision(db) == head()
    db.close()
