"""GPU-seconds belong to the jobs that claimed the chunks, and the daily totals are their sum at any moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

import sql
from edits.errors import PermanentError
from sql.models import DailyUsage, Round, Share
from tests.fakes.recorded import dispatch, edit_job, key, plan

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
A, B, C = key("a"), key("b"), key("c")
WINTER, SUMMER = "0" * 16, "1" * 16


@pytest.fixture(autouse=True)
def _claimed(db: sql.Database) -> None:
    """Chunks a and b belong to a job of project winter, c to one of summer; one dispatch holds all three."""
    owner = sql.this_process()
    for job_id, project, names in ((WINTER, "winter", "ab"), (SUMMER, "summer", "c")):
        job = replace(edit_job(job_id), project=project)
        sql.record_job(db, job)
        sql.record_plan(db, plan(job, names))
        sql.take_job(db, job_id, owner)
    sql.claim(db, dispatch(), [A, B, C], owner)
    sql.begin_round(db, "d1", owner)


def attempt(seconds: float, chunks: tuple[str, ...] = (A, B, C), number: int = 0) -> sql.AttemptRecord:
    return sql.AttemptRecord("d1", 0, number, 0, "done", "", seconds, "cpu", "here", NOON, NOON, chunks)


def totals(db: sql.Database) -> dict[tuple[date, str, str], tuple[int, float]]:
    with db.read() as session:
        rows = session.scalars(sa.select(DailyUsage))
        return {(row.day, row.project, row.editor): (row.chunks, row.gpu_seconds) for row in rows}


def test_seconds_are_dealt_by_chunk_to_the_projects_of_the_jobs_that_claimed_them(db: sql.Database) -> None:
    sql.record_attempt(db, attempt(9.0))
    day = NOON.date()
    assert totals(db) == {(day, "winter", "grade"): (2, 6.0), (day, "summer", "grade"): (1, 3.0)}


def test_totals_add_up_over_attempts(db: sql.Database) -> None:
    sql.record_attempt(db, attempt(9.0))
    sql.record_attempt(db, attempt(1.0, (C,), number=1))
    assert totals(db)[NOON.date(), "summer", "grade"] == (2, 4.0)


def test_an_attempt_that_is_recorded_again_counts_once_with_its_newer_seconds(db: sql.Database) -> None:
    sql.record_attempt(db, attempt(9.0))
    sql.record_attempt(db, attempt(4.0, (A,)))
    assert totals(db)[NOON.date(), "winter", "grade"] == (1, 4.0)
    assert totals(db)[NOON.date(), "summer", "grade"] == (0, 0.0)
    with db.read() as session:
        assert session.execute(sa.select(Share.job_id, Share.gpu_seconds)).all() == [(WINTER, 4.0)]


def test_an_attempt_belongs_to_the_utc_day_on_which_it_ended(db: sql.Database) -> None:
    midnight = datetime(2026, 5, 5, tzinfo=UTC)
    sql.record_attempt(db, replace(attempt(1.0, (A,)), started_at=NOON, ended_at=midnight - timedelta(seconds=1)))
    sql.record_attempt(db, replace(attempt(2.0, (A,), number=1), started_at=NOON, ended_at=midnight))
    assert {day: seconds for (day, _, _), (_, seconds) in totals(db).items()} == {
        date(2026, 5, 4): 1.0,
        date(2026, 5, 5): 2.0,
    }


def test_seconds_that_edited_nothing_are_counted_for_no_project(db: sql.Database) -> None:
    sql.record_attempt(db, attempt(5.0, ()))
    assert totals(db) == {(NOON.date(), "", "grade"): (0, 5.0)}


def test_an_attempt_of_no_dispatch_changes_no_total(db: sql.Database) -> None:
    with pytest.raises(PermanentError, match="there is no dispatch d2"):
        sql.record_attempt(db, replace(attempt(5.0), dispatch_id="d2"))
    assert totals(db) == {}


def test_each_round_says_why_it_had_to_be(db: sql.Database) -> None:
    sql.begin_round(db, "d1", cause="2 chunks are missing: killed")
    with db.read() as session:
        rows = session.execute(sa.select(Round.round, Round.cause).order_by(Round.round)).all()
    assert rows == [(1, ""), (2, "2 chunks are missing: killed")]
