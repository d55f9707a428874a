"""Pruning, recovering and reproducing what a real run left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

import sql
from tests.fakes.command import SAMAFLOW, Folder

CHUNKS = 4
"""Of the library: two shots, edited two ways. The row that failed was never planned."""


def store_files(folder: Folder, part: str) -> list[Path]:
    return sorted(path for path in (folder.path / ".samaflow/store" / part).rglob("*") if path.is_file())


def lose_the_database(folder: Folder) -> None:
    for left in (folder.path / ".samaflow").glob("samaflow.db*"):
        left.unlink()


# -- pruning ----------------------------------------------------------------------------------------------------------


def test_chunks_of_deliverables_are_kept_unless_they_are_given_up_by_name(library: Folder) -> None:
    assert library.ask("prune", "--older-than", "0")["chunks"] == []
    assert library.ask("prune", "--delivered")["chunks"] == [], "they were touched today"


def test_pruning_says_first_what_it_would_do_and_removes_markers_with_their_files(library: Folder) -> None:
    before = store_files(library, "chunks"), store_files(library, "inputs")
    forecast = library.ask("prune", "--older-than", "0", "--delivered")
    assert (forecast["removed"], len(forecast["chunks"])) == (False, CHUNKS)
    assert (store_files(library, "chunks"), store_files(library, "inputs")) == before
    done = library.ask("prune", "--older-than", "0", "--delivered", "--yes")
    assert (done["removed"], len(done["chunks"])) == (True, CHUNKS)
    assert (store_files(library, "chunks"), store_files(library, "inputs")) == ([], [])
    assert len(library.ask("lineage", str(library.deliverables()[0]))["chunks"]) == CHUNKS / 2


def test_a_question_to_a_database_that_is_not_there_makes_none(library: Folder) -> None:
    file = library.path / "typo" / "samaflow.db"
    library.environ["SAMAFLOW_DATABASE"] = f"sqlite:///{file}"
    for question in (("status",), ("lineage", str(library.deliverables()[0])), ("failures",), ("export",)):
        assert "no such database" in library.run(*question).stderr
    del library.environ["SAMAFLOW_DATABASE"]
    assert not file.parent.exists()


def test_a_reader_that_has_enough_ends_a_question_quietly(library: Folder) -> None:
    command = [str(SAMAFLOW), "export", "--format", "csv"]
    asked = subprocess.Popen(command, cwd=library.path, env=library.environ, stdout=-1, stderr=-1, text=True)
    assert asked.stdout is not None
    asked.stdout.close()
    _, err = asked.communicate(timeout=60)
    assert (asked.returncode, err) == (128 + signal.SIGPIPE, "")


# -- recovering -------------------------------------------------------------------------------------------------------


def test_a_lost_database_is_rebuilt_from_the_store_and_the_manifest_is_delivered_already(library: Folder) -> None:
    mp4 = str(library.deliverables()[0])
    before, usage = library.ask("lineage", mp4), library.ask("usage")
    lose_the_database(library)
    for question in (("lineage", mp4), ("status",)):
        error = library.ask(*question, code=2)["error"]
        assert "no such database" in error["message"]
        assert "samaflow recover" in error["message"]
    for _ in range(2):
        found = library.ask("recover")
        assert (found["jobs"], found["deliverables"], found["unreadable"]) == (2, 2, [])
        assert found["chunks_done"] == CHUNKS
    after = library.ask("lineage", mp4)
    for same in ("job", "plan", "streams", "sha256", "uri", "encoding", "code_version", "chunks", "checks"):
        assert after[same] == before[same], same
    assert before["checks"]
    assert any("settings" in lost for lost in found["not_in_store"])
    assert after["origin"] is None
    assert library.ask("times") == [], "nobody knows how long anything took"
    assert [(line["project"], line["chunks"]) for line in library.ask("usage")] == [
        (line["project"], line["chunks"]) for line in usage
    ]
    assert library.ask("status")["counts"] == {"delivered": 2}
    rows = library.edit(code=1)["rows"]
    assert [row["message"] for row in rows[:2]] == ["delivered already"] * 2


def test_a_recovered_deliverable_keeps_the_moment_when_it_was_made(library: Folder) -> None:
    """As its record says, or, of a record without it, as the record's own age does."""
    new, old = (path for path in store_files(library, "jobs") if path.name == "delivery.json")
    record = json.loads(old.read_bytes())
    told = json.loads(new.read_bytes())["made_at"]
    del record["made_at"], record["checks"]
    old.write_text(json.dumps(record))
    os.utime(old, (10**9, 10**9))
    lose_the_database(library)
    library.ask("recover")
    made = [library.ask("lineage", path.parent.name)["recorded_at"] for path in (new, old)]
    assert [datetime.fromisoformat(at) for at in made] == [
        datetime.fromisoformat(told),
        datetime.fromtimestamp(10**9, UTC),
    ]
    exported = [json.loads(line)["eventTime"] for line in library.run("export").stdout.splitlines()]
    assert sorted(exported) == sorted(made)


def test_recovering_leaves_rows_that_are_there_as_they_are(library: Folder) -> None:
    db = sql.open_database(f"sqlite:///{library.path}/.samaflow/samaflow.db")
    mp4 = str(library.deliverables()[0])
    before, usage = library.ask("lineage", mp4), sql.usage(db)
    library.ask("recover")
    assert library.ask("lineage", mp4) == before
    assert sql.usage(db) == usage
    assert library.ask("status")["counts"] == {"delivered": 2, "failed": 1}
    db.close()


def test_an_object_that_is_no_record_is_named_and_the_rest_is_recovered(library: Folder) -> None:
    broken = next(path for path in store_files(library, "jobs") if path.name == "plan.json")
    broken.write_text("{}")
    lose_the_database(library)
    found = library.ask("recover")
    assert found["jobs"] == 1
    assert broken.parent.name in found["unreadable"][0]


def test_a_deliverable_that_is_not_where_it_was_put_is_not_called_delivered(library: Folder) -> None:
    shutil.rmtree(library.path / "deliverables")
    lose_the_database(library)
    library.ask("recover")
    assert library.ask("status")["counts"] == {"planned": 2}


# -- reproducing ------------------------------------------------------------------------------------------------------


def test_a_deliverable_is_reproduced_packet_by_packet_and_what_is_otherwise_now_is_named(library: Folder) -> None:
    with sqlite3.connect(library.path / ".samaflow/samaflow.db") as raw:
        raw.execute("UPDATE environment SET packages = json_set(packages, '$.numpy', '0.0.1')")
    raw.close()
    films = library.deliverables()
    found = library.json("reproduce", str(films[1]))
    assert (found["identical"], found["streams"], found["chunks"]) == (True, [], [])
    assert [(d["what"], d["recorded"]) for d in found["differences"]] == [("package numpy", "0.0.1")]
    assert library.deliverables() == films
    assert len(library.ask("status")["jobs"]) == 3


@pytest.mark.endurance
def test_a_source_that_is_gone_cannot_be_reproduced_and_says_so(library: Folder) -> None:
    (library.path / "clip.mp4").unlink()
    error = library.json("reproduce", str(library.deliverables()[0]), code=2)["error"]
    assert error["message"].startswith("cannot be made again now")
