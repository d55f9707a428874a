"""A database that fails in the middle of the work: calls wait and go on, and nothing is recorded twice or lost."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import sql
from edits.errors import BusyError, DatabaseError
from edits.job import JobState
from sql.session import STATEMENT_SECONDS
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, wait_until
from tests.fakes.postgresql import Server
from tests.fakes.recorded import dispatch, edit_job, gone, key, library, recorded_job

JOB = "0" * 16
CHANGES = 300
PATIENCE = 90.0
AWAY_SECONDS = 30
LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
database.execute("ROLLBACK")
"""
LIFE = ["planned", "splitting", "queued", "editing", "stitching", "checking", "delivered"]
"""Every state of a job that nothing went wrong with, each once."""


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that may be killed."""
    server = Server()
    yield server
    server.stop()


def change_back_and_forth(db: sql.Database, done: list[int], changes: int) -> None:
    """Each change is allowed only after the one before: one that is recorded twice, or lost, is an error."""
    for number in range(changes):
        to = JobState.PLANNED if number % 2 else JobState.SPLITTING
        sql.change_state(db, JOB, to, f"change {number}")
        done.append(number)


def in_a_thread(work: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    return thread, failures


def migrated(server: Server) -> str:
    """The URL of a new database with samaflow's tables."""
    url = server.create("run")
    made = sql.connect(url)
    sql.migrate(made)
    made.close()
    return url


def test_a_killed_postgresql_is_waited_for_and_every_change_is_there_once(own_server: Server) -> None:
    url = migrated(own_server)
    library(url).close()
    db = sql.open_database(url, patience=PATIENCE)
    recorded_job(db, JOB)
    done: list[int] = []
    thread, failures = in_a_thread(lambda: change_back_and_forth(db, done, CHANGES))
    for mark in (40, 120):
        wait_until(lambda mark=mark: len(done) > mark or bool(failures), f"{mark} changes")
        own_server.kill()
        time.sleep(0.5)
        own_server.start_again()
    thread.join(timeout=PATIENCE)
    assert failures == []
    reasons = [event.reason for event in sql.job_events(db, JOB)[1:]]
    assert reasons == [f"change {number}" for number in range(CHANGES)]
    db.close()


@pytest.mark.parametrize("fate", ["happened", "undone", "forgotten"])
def test_a_commit_whose_answer_is_lost_is_looked_up_and_done_once(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """Of a commit that is forgotten the crash left not even the number."""
    url = postgresql.create(f"lost_{fate}", "migrated")
    library(url).close()
    db = sql.open_database(url, patience=PATIENCE)
    recorded_job(db, JOB)
    real = db.engine.dialect.do_commit
    losses = iter([True])

    def lose_the_answer(connection: Any) -> None:
        if not next(losses, False):
            return real(connection)
        if fate == "happened":
            real(connection)
        connection.dbapi_connection.close()
        raise psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr(db.engine.dialect, "do_commit", lose_the_answer)
    if fate == "forgotten":
        monkeypatch.setattr("sql.commits._NUMBER", sa.text("SELECT '999999999'"))
    sql.change_state(db, JOB, JobState.SPLITTING, "once")
    assert [event.reason for event in sql.job_events(db, JOB)[1:]] == ["once"]
    db.close()


def test_a_postgresql_that_stays_away_is_named_with_what_to_do(own_server: Server) -> None:
    db = sql.open_database(migrated(own_server))
    own_server.kill()
    with pytest.raises(BusyError, match=r"cannot be reached .*see that it runs, then try again"):
        sql.counts(db)
    db.close()


def test_an_sqlite_file_that_another_process_locks_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/samaflow.db"
    library(url).close()
    db = sql.open_database(url, busy_seconds=0.2, patience=PATIENCE)
    recorded_job(db, JOB)
    other = sqlite3.connect(tmp_path / "samaflow.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    done: list[int] = []
    thread, failures = in_a_thread(lambda: change_back_and_forth(db, done, 4))
    time.sleep(1.5)
    assert done == []
    other.execute("ROLLBACK")
    other.close()
    thread.join(timeout=PATIENCE)
    assert (failures, len(sql.job_events(db, JOB))) == ([], 5)
    db.close()


def test_what_another_flow_holds_is_not_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/samaflow.db"
    library(url).close()
    db, mine = sql.open_database(url, patience=PATIENCE), sql.this_process()
    recorded_job(db, JOB)
    sql.claim(db, dispatch(), [key("a")], mine)
    began = time.monotonic()
    with pytest.raises(BusyError, match="taken over"):
        sql.begin_round(db, "d1", gone(mine))
    assert time.monotonic() - began < PATIENCE / 2
    db.close()


def test_a_connection_to_postgresql_gives_up_locks_and_long_statements(postgresql: Server) -> None:
    url = postgresql.create("limits", "migrated")
    library(url).close()
    db, other = sql.open_database(url, busy_seconds=0.3), sql.open_database(url)
    recorded_job(db, JOB)
    with db.read() as session:
        told = [session.scalar(sa.text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout", "TimeZone")]
    assert told == ["300ms", f"{STATEMENT_SECONDS // 60}min", "UTC"]
    with other.write() as session:
        session.execute(sa.text("SELECT 1 FROM edit_job FOR UPDATE"))
        with pytest.raises(BusyError, match="did not grant a lock in time: try again"):
            sql.change_state(db, JOB, JobState.SPLITTING, "its turn")
    sql.change_state(db, JOB, JobState.SPLITTING, "its turn")
    db.close()
    other.close()


@pytest.mark.parametrize(
    ("database", "user", "password", "message"),
    [
        ("migrated", "guarded", "hunter2", "refuses this user or password: correct the database's URL"),
        ("migrated", "guarded", "", "refuses this user or password: correct the database's URL"),
        ("migrated", "nobody", "hunter2", "refuses this user or password: correct the database's URL"),
        ("nowhere", "postgres", "hunter2", "does not exist on that server: create it"),
    ],
)
def test_a_refused_connection_says_what_to_correct_and_never_shows_the_password(
    postgresql: Server, database: str, user: str, password: str, message: str
) -> None:
    with pytest.raises(DatabaseError, match=message) as caught:
        sql.open_database(postgresql.url(database, user, password), patience=PATIENCE)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_right_password_lets_in_who_may_not_write_and_says_what_to_grant(postgresql: Server) -> None:
    url = postgresql.create("granted", "migrated")
    postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded", "granted")
    db = sql.open_database(postgresql.url("granted", "guarded", "correct"))
    assert sql.jobs(db) == ()
    with pytest.raises(DatabaseError, match="grant the rights on samaflow's tables"):
        sql.record_job(db, edit_job())
    db.close()
    sql.open_database(url).close()


# -- a whole run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def going(folder: Folder, tmp_path: Path) -> Folder:
    """A folder whose manifest takes long enough for something to happen meanwhile."""
    clip = write_clip(folder.path / "clip.mp4", frames=160)
    rows = ({"start": f"f{20 * n}", "end": f"f{20 * n + 20}"} for n in range(8))
    folder.manifest(*({"source": clip, "instruction": "turn it sepia", "editor": "grade", **row} for row in rows))
    return folder


def histories(url: str) -> list[list[str]]:
    db = sql.open_database(url)
    found = [[str(event.after) for event in sql.job_events(db, job.job_id)] for job in sql.jobs(db)]
    db.close()
    return found


def all_is_recorded_once(folder: Folder, url: str) -> None:
    assert histories(url) == [LIFE] * 8
    (usage,) = folder.json("usage")
    assert usage["chunks"] == len(folder.markers())


@pytest.mark.endurance
def test_a_run_goes_on_when_its_postgresql_was_killed_and_away_for_half_a_minute(
    going: Folder, own_server: Server
) -> None:
    going.environ["SAMAFLOW_DATABASE"] = url = migrated(own_server)
    flow = going.start("edit", "manifest.csv", "--json")
    wait_until(lambda: len(going.deliverables()) >= 2, "two deliverables")
    own_server.kill()
    time.sleep(AWAY_SECONDS)
    assert flow.poll() is None
    own_server.start_again()
    out, err = flow.communicate(timeout=240)
    assert flow.returncode == 0, err
    assert {row["state"] for row in json.loads(out)["rows"]} == {"delivered"}
    all_is_recorded_once(going, url)


@pytest.mark.endurance
def test_a_run_whose_postgresql_stays_away_says_what_to_do_and_goes_on_another_day(
    going: Folder, own_server: Server
) -> None:
    going.environ |= {"SAMAFLOW_DATABASE": migrated(own_server), "SAMAFLOW_DATABASE_PATIENCE": "5"}
    flow = going.start("edit", "manifest.csv", "--json")
    wait_until(lambda: len(going.deliverables()) >= 2, "two deliverables")
    own_server.kill()
    _, err = flow.communicate(timeout=240)
    assert flow.returncode != 0
    assert "cannot be reached" in err
    assert "Traceback" not in err
    own_server.start_again()
    kept = going.markers()
    rows = going.edit()["rows"]
    assert {row["state"] for row in rows} == {"delivered"}
    assert sum(row["chunks_edited"] for row in rows) == len(going.markers() - kept)


@pytest.mark.endurance
def test_a_run_goes_on_when_its_sqlite_file_was_locked_for_half_a_minute(going: Folder) -> None:
    file = going.path / ".samaflow/samaflow.db"
    flow = going.start("edit", "manifest.csv", "--json")
    wait_until(lambda: len(going.deliverables()) >= 2, "two deliverables")
    command = [sys.executable, "-c", LOCK, str(file), str(AWAY_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        there = len(going.deliverables())
        assert going.json("status")["jobs"], "reading waits for no writer"
    _, err = flow.communicate(timeout=240)
    assert flow.returncode == 0, err
    assert len(going.deliverables()) > there
    all_is_recorded_once(going, f"sqlite:///{file}")
