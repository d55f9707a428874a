"""What may be pruned: never what a job that has not ended, a dispatch or, unless asked, a deliverable needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

import sql
from edits.job import JobState
from sql.models import Chunk, Job
from tests.fakes.recorded import dispatch, key, marker, plan, recorded_job

JOB, OTHER = "0" * 16, "1" * 16
MONTH = sql.Policy(timedelta(days=30))
DELIVERED_TOO = sql.Policy(timedelta(days=30), delivered=True)


def edited(db: sql.Database, job_id: str, names: str, *, days_ago: float, state: JobState) -> None:
    recorded_job(db, job_id, names)
    sql.record_chunk_done(db, *[marker(name) for name in names])
    if state is not JobState.PLANNED:
        sql.change_state(db, job_id, state, "it ended")
    then = datetime.now(UTC) - timedelta(days=days_ago)
    with db.write() as session:
        session.execute(sa.update(Chunk).where(Chunk.chunk_key.in_(map(key, names))).values(done_at=then))
        session.execute(sa.update(Job).where(Job.job_id == job_id).values(updated_at=then))


def prunable(db: sql.Database, policy: sql.Policy = MONTH) -> set[str]:
    return {chunk.chunk_key for chunk in sql.prunable_chunks(db, policy)}


def test_chunks_of_a_job_that_ended_long_ago_are_given_up(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.FAILED)
    assert [(chunk.chunk_key, chunk.size) for chunk in sql.prunable_chunks(db, MONTH)] == [
        (key("a"), 99),
        (key("b"), 99),
    ]


def test_young_chunks_and_chunks_of_live_jobs_are_kept(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=29, state=JobState.FAILED)
    edited(db, OTHER, "cd", days_ago=99, state=JobState.PLANNED)
    assert prunable(db) == set()


def test_a_chunk_that_one_live_job_shares_is_kept(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.CANCELLED)
    edited(db, OTHER, "bc", days_ago=31, state=JobState.PLANNED)
    assert prunable(db) == {key("a")}


def test_a_chunk_of_a_job_that_was_touched_lately_is_kept(db: sql.Database) -> None:
    edited(db, JOB, "a", days_ago=31, state=JobState.CANCELLED)
    sql.change_state(db, JOB, JobState.PLANNED, "again")
    sql.change_state(db, JOB, JobState.CANCELLED, "no")
    assert prunable(db) == set()


def test_a_chunk_in_an_unfinished_dispatch_is_kept(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.CANCELLED)
    sql.claim(db, dispatch(), [key("a")], sql.this_process())
    assert prunable(db) == {key("b")}


def test_chunks_of_a_deliverable_are_kept_unless_asked_for(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.FAILED)
    sql.record_output_digest(db, JOB, "file:///out", "e" * 64, 5)
    sql.record_lineage(db, JOB, {key("a"): "a" * 64})
    assert prunable(db) == {key("b")}
    assert prunable(db, DELIVERED_TOO) == {key("a"), key("b")}


def test_forgetting_leaves_rows_and_lineage_and_tells_the_job(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.FAILED)
    sql.record_output_digest(db, JOB, "file:///out", "e" * 64, 5)
    sql.record_lineage(db, JOB, {key("a"): "a" * 64, key("b"): "b" * 64})
    gone = sql.forget_chunks(db, [key("a"), key("b")], DELIVERED_TOO)
    assert {chunk.output_sha256 for chunk in gone} == {"a" * 64, "b" * 64}
    assert prunable(db, DELIVERED_TOO) == set()
    assert [chunk.sha256 for chunk in sql.lineage_of(db, JOB).chunks] == ["a" * 64, "b" * 64]
    last = sql.job_events(db, JOB)[-1]
    assert (last.category, last.after, last.reason) == (
        "pruned", JobState.FAILED, "pruned: the files of 2 of its chunks are removed",
    )  # fmt: skip
    assert sql.job_table(db)[0].chunks_done == 0


def test_a_chunk_that_is_needed_again_by_then_is_not_forgotten(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.FAILED)
    recorded_job(db, OTHER, "b")
    assert [chunk.chunk_key for chunk in sql.forget_chunks(db, [key("a"), key("b")], MONTH)] == [key("a")]


def test_an_input_is_unused_when_no_chunk_and_no_live_job_needs_it(db: sql.Database) -> None:
    edited(db, JOB, "ab", days_ago=31, state=JobState.FAILED)
    inputs = [chunk.input_key for chunk in plan(recorded_job(db, JOB, "ab"), "ab").chunks]
    assert sql.unused_inputs(db, inputs) == ()
    sql.forget_chunks(db, [key("a")], MONTH)
    assert sql.unused_inputs(db, inputs) == (inputs[0],)
    sql.change_state(db, JOB, JobState.PLANNED, "again")
    assert sql.unused_inputs(db, inputs) == ()
