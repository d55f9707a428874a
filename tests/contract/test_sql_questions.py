"""The questions people ask: each has an answer that this file can work out by hand, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import sql
from edits.errors import PermanentError
from edits.job import JobState
from sql.models import Dispatch, Event, Holder, Job
from tasks.metrics import exposition
from tasks.recover import RECOVERED
from tests.fakes.postgresql import Server
from tests.fakes.recorded import SOURCE, dispatch, edit_job, gone, key, library, plan, recorded_job

JOB, OTHER = "0" * 16, "1" * 16
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def delivered(db: sql.Database, job_id: str, sha256: str, **changes: Any) -> None:
    job = replace(edit_job(job_id), **changes)
    sql.record_job(db, job)
    sql.record_plan(db, plan(job, [f"{job_id[0]}a", f"{job_id[0]}b"]))
    sql.record_output_digest(db, job_id, job.output, sha256, 5)


def paid(db: sql.Database, day: int, seconds: float, number: int, job_id: str = JOB, name: str = "a") -> None:
    ended = NOON + timedelta(days=day)
    facts = (0, "done", "", seconds, "cpu", "here", ended, ended, (key(name),))
    sql.record_attempt(db, sql.AttemptRecord("d1", 0, number, *facts))


def event_times(db: sql.Database, job_id: str, *seconds: float) -> None:
    """Move the job's events to these seconds after noon."""
    with db.write() as session:
        ids = session.scalars(sa.select(Event.event_id).where(Event.job_id == job_id).order_by(Event.event_id)).all()
        for event_id, second in zip(ids, seconds, strict=True):
            at = NOON + timedelta(seconds=second)
            session.execute(sa.update(Event).where(Event.event_id == event_id).values(at=at))


# -- source and model -------------------------------------------------------------------------------------------------


def test_everything_made_from_a_source_is_found_with_what_is_still_to_be_made(db: sql.Database) -> None:
    delivered(db, JOB, "e" * 64)
    recorded_job(db, OTHER, "c")
    sql.record_source(db, "6" * 64, "file:///in/b.mp4", 10, 36)
    delivered(db, "2" * 16, "f" * 64, source_sha256="6" * 64)
    found = sql.made_from(db, sql.source_digest(db, "file:///in/a.mp4"))
    assert [(file.job_id, file.sha256, file.uri) for file in found] == [
        (JOB, "e" * 64, f"file:///out/{JOB}.mp4"),
        (OTHER, "", f"file:///out/{OTHER}.mp4"),
    ]
    assert sql.source_digest(db, SOURCE) == SOURCE


def generations(db: sql.Database) -> None:
    """A sama job's deliverable is graded, that is graded again, and nothing came of the last yet."""
    delivered(db, JOB, "e" * 64, editor="sama", weights="tiny", weights_digest="ab" * 32)
    sql.record_source(db, "e" * 64, f"file:///out/{JOB}.mp4", 10, 36)
    delivered(db, OTHER, "f" * 64, source_sha256="e" * 64)
    sql.record_source(db, "f" * 64, f"file:///out/{OTHER}.mp4", 10, 36)
    recorded = replace(edit_job("2" * 16), source_sha256="f" * 64)
    sql.record_job(db, recorded)


def test_a_source_and_a_recall_reach_what_was_made_of_what_was_made(db: sql.Database) -> None:
    generations(db)
    whole = [(JOB, 1, "e" * 64), (OTHER, 2, "f" * 64), ("2" * 16, 3, "")]
    for found in (sql.made_from(db, SOURCE), sql.touched_by(db, "sama").files):
        assert [(file.job_id, file.generation, file.sha256) for file in found] == whole
    assert [(file.job_id, file.generation) for file in sql.made_from(db, "e" * 64)] == [(OTHER, 1), ("2" * 16, 2)]
    assert [file.generation for file in sql.touched_by(db, "grade").files] == [1, 2]


def test_a_source_that_is_a_deliverable_names_the_job_that_made_it(db: sql.Database) -> None:
    generations(db)
    assert sql.lineage_of(db, OTHER).source.made_by == JOB
    assert sql.lineage_of(db, JOB).source.made_by == ""


def test_a_file_that_is_its_own_source_is_told_once(db: sql.Database) -> None:
    delivered(db, JOB, SOURCE)
    assert [(file.job_id, file.generation) for file in sql.made_from(db, SOURCE)] == [(JOB, 1)]


def test_an_unknown_source_says_how_to_name_one(db: sql.Database) -> None:
    with pytest.raises(PermanentError, match=r"no such source is recorded\. Give its URI"):
        sql.source_digest(db, "file:///in/none.mp4")


def test_a_recall_names_every_job_and_file_of_a_model_version(db: sql.Database) -> None:
    delivered(db, JOB, "e" * 64, editor="sama", weights="tiny", weights_digest="ab" * 32)
    delivered(db, OTHER, "f" * 64, editor="sama", weights="nano", weights_digest="cd" * 32)
    delivered(db, "2" * 16, "d" * 64)
    for model in ("sama/tiny", "abababab", "ab" * 32):
        recall = sql.touched_by(db, model)
        assert [(line.weights, line.digest) for line in recall.models] == [("tiny", "ab" * 32)]
        assert ([file.sha256 for file in recall.files], recall.chunks) == (["e" * 64], 2)
    assert [file.sha256 for file in sql.touched_by(db, "sama").files] == ["f" * 64, "e" * 64]


def test_a_recall_keeps_jobs_that_were_planned_anew_for_another_version(db: sql.Database) -> None:
    job = recorded_job(db, JOB, "ab")
    sql.record_plan(db, replace(plan(job, "cd"), editor_version="2"))
    versions = sql.touched_by(db, "grade")
    assert [line.editor_version for line in versions.models] == ["1", "2"]
    assert [file.job_id for file in versions.files] == [JOB]


def test_an_unknown_model_names_the_known_ones(db: sql.Database) -> None:
    recorded_job(db)
    with pytest.raises(PermanentError, match=r"no model 'sama/14b' is recorded. Known: grade/builtin\."):
        sql.touched_by(db, "sama/14b")


def test_what_made_the_weights_is_told_with_the_model(db: sql.Database) -> None:
    sql.record_model_version(db, "14b", "ab" * 32, "sama", "1", "convert 1", "grain@0.5 " + "c" * 64)
    sql.record_model_version(db, "14b", "ab" * 32, "sama", "1", "convert 2")
    job = replace(edit_job(), editor="sama", weights="14b", weights_digest="ab" * 32)
    sql.record_job(db, job)
    sql.record_plan(db, plan(job))
    (line,) = sql.touched_by(db, "sama/14b").models
    assert (line.converter, line.loras) == ("convert 2", "grain@0.5 " + "c" * 64)


# -- usage ------------------------------------------------------------------------------------------------------------


def test_gpu_time_is_summed_by_what_is_asked_for(db: sql.Database) -> None:
    owner = sql.this_process()
    for job_id, project, name in ((JOB, "winter", "a"), (OTHER, "summer", "b")):
        job = replace(edit_job(job_id), project=project)
        sql.record_job(db, job)
        sql.record_plan(db, plan(job, name))
        sql.take_job(db, job_id, owner)
    sql.claim(db, dispatch(), [key("a"), key("b")], owner)
    paid(db, 0, 3600, 0)
    paid(db, 1, 1800, 1)
    paid(db, 1, 60, 2, OTHER, "b")
    lines = [(line.day, line.project, line.editor, line.gpu_hours) for line in sql.usage(db)]
    assert lines[0] == ("2026-05-04", "winter", "grade", 1.0)
    assert [line.gpu_seconds for line in sql.usage(db, by=["project"])] == [60.0, 5400.0]
    assert [(line.project, line.editor) for line in sql.usage(db, by=["editor"])] == [("", "grade")]
    assert [line.gpu_seconds for line in sql.usage(db, by=[])] == [5460.0]
    assert [line.day for line in sql.usage(db, by=["day"], since=date(2026, 5, 5))] == ["2026-05-05"]
    assert [line.day for line in sql.usage(db, by=["day"], until=date(2026, 5, 4))] == ["2026-05-04"]


def test_without_any_attempt_no_time_was_used(db: sql.Database) -> None:
    assert (sql.usage(db), sql.usage(db, by=[])) == ((), ())
    with pytest.raises(PermanentError, match="cannot be grouped by 'node': it can be by day, project, editor"):
        sql.usage(db, by=["node"])


# -- failures ---------------------------------------------------------------------------------------------------------


def test_failures_are_counted_by_cause_with_the_newest_as_the_example(db: sql.Database) -> None:
    for number, (job_id, message) in enumerate(((JOB, "frame 1"), (OTHER, "frame 2"), ("2" * 16, "no space"))):
        sql.record_job(db, edit_job(job_id, number))
        sql.change_state(db, job_id, JobState.FAILED, message, "store" if "space" in message else "source")
    recorded_job(db, "3" * 16, "a", line=9)
    sql.claim(db, dispatch(), [key("a")], sql.this_process())
    for number, code in enumerate((0, 75, None, 143)):
        facts = (code, "transient", "no answer", 0.0, "cpu", "here", NOON, NOON)
        sql.record_attempt(db, sql.AttemptRecord("d1", 0, number, *facts))
    causes = sql.failures(db)
    assert [(cause.subject, cause.category, cause.count, cause.example) for cause in causes] == [
        ("job", "source", 2, "frame 2"),
        ("worker", "transient", 2, "no answer"),
        ("job", "store", 1, "no space"),
    ]
    assert [cause.subject for cause in sql.failures(db, since=date(2026, 5, 5))] == ["job", "job"]


def test_every_failure_of_a_job_counts_also_after_a_retry_that_went_well(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    for number, state in enumerate((JobState.FAILED, JobState.FAILED_QC)):
        sql.change_state(db, JOB, JobState.PLANNED, "again") if number else None
        walk_to(db, state, f"frame {number}")
    sql.note(db, JOB, "its chunks were removed", "pruned")
    (cause,) = sql.failures(db)
    assert (cause.count, cause.standing, cause.example) == (2, 1, "frame 1")
    sql.change_state(db, JOB, JobState.PLANNED, "again")
    assert [(cause.count, cause.standing) for cause in sql.failures(db)] == [(2, 0)]


def test_a_refused_row_counts_once_until_it_becomes_a_job_and_the_metrics_count_each_refusal(db: sql.Database) -> None:
    job = recorded_job(db, JOB, "a", line=2)
    assert sql.refused_rows(db) == 0
    for _ in range(2):
        sql.record_row_failures(db, job.manifest_id, [(3, "row", "no such editor"), (4, "source", "no such file")])
    assert sql.refused_rows(db) == 2
    figures = exposition(db).decode()
    assert 'samaflow_rows_refused_total{category="row"} 2.0' in figures
    assert 'samaflow_rows_refused_total{category="source"} 2.0' in figures
    recorded_job(db, OTHER, "b", line=4)
    assert sql.refused_rows(db) == 1


def walk_to(db: sql.Database, failure: JobState, reason: str) -> None:
    """From planned to that failure, for the one category of these tests."""
    if failure is JobState.FAILED_QC:
        for step in (JobState.SPLITTING, JobState.QUEUED, JobState.STITCHING, JobState.CHECKING):
            sql.change_state(db, JOB, step, "its turn")
    sql.change_state(db, JOB, failure, reason, "source")


# -- time -------------------------------------------------------------------------------------------------------------


def test_time_is_told_by_state_over_all_jobs(db: sql.Database) -> None:
    for job_id, waits in ((JOB, 10.0), (OTHER, 30.0)):
        sql.record_job(db, edit_job(job_id))
        sql.change_state(db, job_id, JobState.SPLITTING, "its turn")
        sql.change_state(db, job_id, JobState.QUEUED, "2 chunks")
        sql.change_state(db, job_id, JobState.FAILED, "no")
        event_times(db, job_id, 0, 5, 6, 6 + waits)
    found = {line.state: (line.jobs, line.seconds, line.mean, line.longest) for line in sql.times(db)}
    assert {state: tuple(round(value, 2) for value in values) for state, values in found.items()} == {
        JobState.PLANNED: (2, 10, 5, 5),
        JobState.SPLITTING: (2, 2, 1, 1),
        JobState.QUEUED: (2, 40, 20, 30),
    }
    assert sql.times(db, since=date(2026, 5, 5)) == ()
    assert sql.times(db, project="none") == ()


def test_a_job_is_in_its_present_state_until_now(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    with db.write() as session:
        session.execute(sa.update(Event).values(at=datetime.now(UTC) - timedelta(seconds=100)))
    (line,) = sql.times(db)
    assert (line.state, 100 <= line.seconds < 160) == (JobState.PLANNED, True)


def test_what_a_recovery_made_up_is_no_time(db: sql.Database) -> None:
    sql.record_job(db, edit_job(), None, RECOVERED)
    sql.walk_to_delivered(db, JOB, RECOVERED)
    assert sql.times(db) == ()
    sql.change_state(db, JOB, JobState.PLANNED, "again")
    assert [(line.state, line.jobs) for line in sql.times(db)] == [(JobState.PLANNED, 1)]


# -- stuck ------------------------------------------------------------------------------------------------------------


def silent(db: sql.Database, seconds: float) -> None:
    with db.write() as session:
        session.execute(sa.update(Holder).values(seen_at=datetime.now(UTC) - timedelta(seconds=seconds)))


def test_a_job_is_stuck_when_no_live_flow_works_on_it(db: sql.Database) -> None:
    recorded_job(db, JOB, "a")
    assert [(job.job_id, job.why[:10]) for job in sql.stuck(db).jobs] == [(JOB, "no flow wo")]
    sql.take_job(db, JOB, sql.this_process())
    assert sql.stuck(db).jobs == ()
    silent(db, 61)
    assert sql.stuck(db).jobs[0].why.startswith("its flow is silent")


def test_a_job_in_which_nothing_happens_is_stuck_although_its_flow_lives(db: sql.Database) -> None:
    recorded_job(db, JOB, "a")
    sql.take_job(db, JOB, sql.this_process())
    with db.write() as session:
        session.execute(sa.update(Job).values(updated_at=datetime.now(UTC) - timedelta(seconds=500)))
    assert sql.stuck(db).jobs == ()
    assert sql.stuck(db, idle_seconds=400).jobs[0].why == "its flow lives, and nothing happens"


def test_a_cancelled_job_whose_flow_does_not_stop_is_stuck(db: sql.Database) -> None:
    recorded_job(db, JOB, "a")
    sql.take_job(db, JOB, sql.this_process())
    sql.request_cancel(db, JOB)
    assert sql.stuck(db).jobs == ()
    with db.write() as session:
        session.execute(sa.update(Job).values(cancel_requested_at=datetime.now(UTC) - timedelta(seconds=90)))
    assert sql.stuck(db).jobs[0].why == "asked to cancel, and its flow still lives"


def test_a_job_that_has_ended_is_never_stuck(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    sql.change_state(db, JOB, JobState.CANCELLED, "no")
    assert sql.stuck(db).jobs == ()


def test_a_dispatch_of_a_silent_flow_is_told_with_the_chunks_that_it_holds(db: sql.Database) -> None:
    recorded_job(db, JOB, "abc")
    sql.claim(db, dispatch(), [key("a"), key("b")], gone(sql.this_process()))
    assert sql.stuck(db).dispatches == ()
    silent(db, 90)
    (held,) = sql.stuck(db).dispatches
    assert (held.dispatch_id, held.chunks, held.state, 90 <= held.silent_seconds < 150) == ("d1", 2, "claimed", True)
    with db.write() as session:
        session.execute(sa.update(Dispatch).values(state="done"))
    assert sql.stuck(db).dispatches == ()


# -- indexes ----------------------------------------------------------------------------------------------------------


@contextmanager
def statements(db: sql.Database) -> Iterator[list[tuple[str, Any]]]:
    """The SELECTs that are made inside the block, with their values."""
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(db.engine, "before_cursor_execute", note)


LOOK_UPS = {
    "what made this file": lambda db: sql.lineage_of(db, "e" * 64),
    "what made this job": lambda db: sql.lineage_of(db, JOB),
    "what has this stream": lambda db: sql.file_with_stream(db, ["1" * 64]),
    "which source is this": lambda db: sql.source_digest(db, "file:///in/a.mp4"),
    "what came of this source": lambda db: sql.made_from(db, SOURCE),
    "what did this model touch": lambda db: sql.touched_by(db, "abababab"),
    "what was used since": lambda db: sql.usage(db, since=date(2026, 5, 4)),
    "what is going on": lambda db: sql.job_table(db, limit=20),
    "what happened to this job": lambda db: sql.job_events(db, JOB),
    "what is stuck": sql.stuck,
    "what may be pruned": lambda db: sql.prunable_chunks(db, sql.Policy(timedelta(days=30))),
}


@pytest.mark.parametrize("question", LOOK_UPS)
def test_look_ups_use_indexes(postgresql: Server, question: str) -> None:
    """Tables are scanned only where no index fits: rows are too few for PostgreSQL to prefer one by itself."""
    db = library(postgresql.create(f"plans of {question}", "migrated"))
    job = replace(edit_job(), editor="sama", weights="tiny", weights_digest="ab" * 32)
    sql.record_job(db, job)
    sql.record_plan(db, plan(job, "abc"))
    sql.record_output_digest(db, JOB, job.output, "e" * 64, 5)
    with statements(db) as seen:
        LOOK_UPS[question](db)
    assert seen
    for statement, values in seen:
        with db.engine.connect() as connection:
            connection.exec_driver_sql("SET enable_seqscan = off")
            lines = connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars().all()
            connection.exec_driver_sql("RESET enable_seqscan")
        assert not [line for line in lines if "Seq Scan" in line], "\n".join([statement, *lines])
    db.close()
