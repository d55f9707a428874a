"""Edit jobs in the database: the same row is the same job, and every change of state leaves an event."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sql
from edits.errors import BusyError, DatabaseError, PermanentError, StateError
from edits.job import TERMINAL, JobState
from tests.fakes.recorded import MANIFEST, edit_job, gone, marker, plan, recorded_job

JOB = "0" * 16


def test_a_new_job_is_planned_and_its_first_event_says_where_it_was_listed(db: sql.Database) -> None:
    record = sql.record_job(db, edit_job())
    (event,) = sql.job_events(db, JOB)
    assert (record.state, record.job) == (JobState.PLANNED, edit_job())
    assert (event.before, event.after) == (None, JobState.PLANNED)
    assert f"{MANIFEST}, line 2" in event.reason
    assert event.at.utcoffset() is not None


def test_the_same_job_again_is_the_same_row_and_adds_no_event(db: sql.Database) -> None:
    first = sql.record_job(db, edit_job())
    assert sql.record_job(db, edit_job()) == first
    assert len(sql.job_events(db, JOB)) == 1


def test_a_job_listed_in_a_second_manifest_is_linked_to_the_newest(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    sql.record_manifest(db, "b" * 16, "again.csv", "d" * 64, 1)
    sql.record_job(db, replace(edit_job(), manifest_id="b" * 16, line=9))
    assert [record.job.line for record in sql.jobs(db, "b" * 16)] == [9]
    assert sql.jobs(db, MANIFEST) == ()
    assert "listed again" in sql.job_events(db, JOB)[-1].reason


def test_a_job_keeps_its_state_when_it_is_listed_again(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    sql.change_state(db, JOB, JobState.SPLITTING, "source indexed")
    assert sql.record_job(db, edit_job()).state is JobState.SPLITTING


def test_a_job_whose_source_is_not_recorded_is_refused_saying_what_to_record(db: sql.Database) -> None:
    with pytest.raises(DatabaseError, match="record what it refers to first"):
        sql.record_job(db, replace(edit_job(), source_sha256="9" * 64))


def test_a_job_is_found_by_the_beginning_of_its_id(db: sql.Database) -> None:
    for job_id in ("abc1" + JOB[4:], "abd2" + JOB[4:]):
        sql.record_job(db, edit_job(job_id))
    assert sql.job(db, "abc").job_id == "abc1" + JOB[4:]


def test_an_ambiguous_beginning_names_the_candidates(db: sql.Database) -> None:
    for job_id in ("abc1" + JOB[4:], "abd2" + JOB[4:]):
        sql.record_job(db, edit_job(job_id))
    with pytest.raises(PermanentError, match=r"several jobs begin with 'ab' \(abc1.*, abd2.*\)"):
        sql.job(db, "ab")


@pytest.mark.parametrize("unknown", ["ff", "", "no such job", "%", "'; drop table edit_job; --"])
def test_an_unknown_job_is_an_error_that_names_it(db: sql.Database, unknown: str) -> None:
    sql.record_job(db, edit_job("abc1" + JOB[4:]))
    sql.record_job(db, edit_job("abd2" + JOB[4:]))
    with pytest.raises(PermanentError, match="there is no job"):
        sql.job(db, unknown)


def test_an_output_is_promised_to_a_job_until_that_has_ended(db: sql.Database) -> None:
    job = sql.record_job(db, edit_job()).job
    assert not sql.is_promised(db, job.output, job.job_id)
    assert sql.is_promised(db, job.output, "another")
    assert not sql.is_promised(db, job.output + "x", "another")
    sql.change_state(db, job.job_id, JobState.CANCELLED, "not wanted")
    assert not sql.is_promised(db, job.output, "another")


def test_a_change_of_state_appends_an_event_with_its_reason(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    record = sql.change_state(db, JOB, JobState.SPLITTING, "3 chunks are missing")
    event = sql.job_events(db, JOB)[-1]
    assert record.state is JobState.SPLITTING
    assert (event.before, event.after, event.reason) == (JobState.PLANNED, JobState.SPLITTING, "3 chunks are missing")


def test_a_change_that_the_table_does_not_allow_is_refused_and_leaves_nothing(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    with pytest.raises(StateError, match=r"is planned and cannot become delivered: it can become cancelled, failed, "):
        sql.change_state(db, JOB, JobState.DELIVERED, "wishful")
    assert sql.job(db, JOB).state is JobState.PLANNED
    assert len(sql.job_events(db, JOB)) == 1


def test_a_failure_stays_on_the_job_until_it_is_planned_anew(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    failed = sql.change_state(db, JOB, JobState.FAILED, "frame 12 is damaged", "source")
    assert (failed.failure_category, failed.failure_message) == ("source", "frame 12 is damaged")
    again = sql.change_state(db, JOB, JobState.PLANNED, "retried")
    assert (again.failure_category, again.failure_message) == ("", "")


def test_jobs_of_a_manifest_come_in_the_order_of_its_lines(db: sql.Database) -> None:
    for line in (4, 2, 3):
        sql.record_job(db, edit_job(f"{line}" * 16, line))
    assert [record.job.line for record in sql.jobs(db, MANIFEST)] == [2, 3, 4]
    assert [record.job.line for record in sql.jobs(db, MANIFEST, limit=1)] == [2]
    assert len(sql.jobs(db, MANIFEST, limit=None)) == 3


def test_jobs_are_chosen_by_state(db: sql.Database) -> None:
    for line in (2, 3):
        sql.record_job(db, edit_job(f"{line}" * 16, line))
    sql.change_state(db, "3" * 16, JobState.FAILED, "no")
    assert [record.job.line for record in sql.jobs(db, states=[JobState.FAILED])] == [3]
    assert sql.jobs(db, states=[]) == ()


# -- leases -----------------------------------------------------------------------------------------------------------


def test_a_lease_is_given_to_one_owner_at_a_time(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    mine, other = sql.this_process(), sql.this_process()
    assert sql.take_job(db, JOB, mine)
    assert sql.take_job(db, JOB, mine)
    assert not sql.take_job(db, JOB, other)
    assert sql.job(db, JOB).owner == mine


def test_a_released_lease_is_free(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    mine, other = sql.this_process(), sql.this_process()
    sql.take_job(db, JOB, mine)
    sql.release_job(db, JOB, other)
    assert not sql.take_job(db, JOB, other)
    sql.release_job(db, JOB, mine)
    assert sql.take_job(db, JOB, other)


def test_a_lease_of_a_dead_process_is_taken_over_with_an_event(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    mine = sql.this_process()
    sql.take_job(db, JOB, gone(mine))
    assert sql.take_job(db, JOB, mine)
    assert "taken over" in sql.job_events(db, JOB)[-1].reason


def test_a_heartbeat_tells_what_was_taken_over_meanwhile(db: sql.Database) -> None:
    mine = sql.this_process()
    for line in (2, 3):
        sql.record_job(db, edit_job(f"{line}" * 16, line))
        sql.take_job(db, f"{line}" * 16, gone(mine))
    sql.take_job(db, "2" * 16, mine)
    assert sql.beat(db, gone(mine)).jobs == {"3" * 16}
    assert sql.beat(db, mine).jobs == {"2" * 16}


def test_a_flow_that_lost_its_lease_cannot_change_the_job(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    mine = sql.this_process()
    sql.take_job(db, JOB, mine)
    with pytest.raises(BusyError, match="taken over by another flow"):
        sql.change_state(db, JOB, JobState.SPLITTING, "late", owner=gone(mine))


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_cancelling_a_job_of_a_live_flow_is_a_request_that_the_flow_sees(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    mine = sql.this_process()
    sql.take_job(db, JOB, mine)
    assert sql.request_cancel(db, JOB).state is JobState.PLANNED
    assert sql.cancel_requested(db, mine) == {JOB}
    assert sql.cancel_requested(db, gone(mine)) == set()


def test_cancelling_a_job_that_nobody_works_on_happens_at_once(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    holder = gone(sql.this_process())
    sql.take_job(db, JOB, holder)
    assert sql.request_cancel(db, "000", "not needed").state is JobState.CANCELLED
    assert sql.job_events(db, JOB)[-1].reason == "not needed"
    assert sql.cancel_requested(db, holder) == set()


def test_a_job_that_has_ended_is_left_as_it_is_by_cancelling(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    sql.change_state(db, JOB, JobState.FAILED, "no")
    assert sql.request_cancel(db, JOB).state is JobState.FAILED


def test_a_cancelled_job_that_is_planned_anew_is_wanted_again(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    sql.take_job(db, JOB, sql.this_process())
    sql.request_cancel(db, JOB)
    sql.change_state(db, JOB, JobState.CANCELLED, "asked")
    assert not sql.change_state(db, JOB, JobState.PLANNED, "again").cancel_requested


# -- status -----------------------------------------------------------------------------------------------------------


def test_counts_name_every_state(db: sql.Database) -> None:
    sql.record_job(db, edit_job())
    counts = sql.counts(db, MANIFEST)
    assert set(counts) == set(JobState)
    assert (counts[JobState.PLANNED], sum(counts.values())) == (1, 1)
    assert sum(sql.counts(db, "elsewhere").values()) == 0


def test_the_job_table_shows_chunks_done_and_the_last_event(db: sql.Database) -> None:
    recorded_job(db, JOB, "abc")
    sql.record_job(db, edit_job("1" * 16, 3))
    sql.record_chunk_done(db, marker("a"))
    sql.change_state(db, JOB, JobState.FAILED, "chunk b: out of range", "instruction")
    planned, unplanned = sql.job_table(db, MANIFEST)
    assert (planned.chunks, planned.chunks_done) == (3, 1)
    assert (planned.last_event.reason, planned.record.failure_category) == ("chunk b: out of range", "instruction")
    assert (unplanned.chunks, unplanned.chunks_done) == (0, 0)


def test_a_chunk_that_two_jobs_share_counts_in_both(db: sql.Database) -> None:
    recorded_job(db, JOB, "ab", 2)
    recorded_job(db, "1" * 16, "bc", 3)
    sql.record_chunk_done(db, marker("b"))
    assert [line.chunks_done for line in sql.job_table(db, MANIFEST)] == [1, 1]


def test_a_plan_recorded_twice_is_one_plan(db: sql.Database) -> None:
    job = recorded_job(db)
    sql.record_plan(db, plan(job))
    assert len(sql.job_events(db, JOB)) == 1
    assert sql.job_table(db)[0].chunks == 3


def test_another_plan_takes_the_place_of_the_former_with_an_event(db: sql.Database) -> None:
    job = recorded_job(db, JOB, "abc")
    sql.record_plan(db, plan(job, "xy"))
    assert sql.job_table(db)[0].chunks == 2
    assert "planned anew: 2 chunks, 3 before" in sql.job_events(db, JOB)[-1].reason


def test_a_marker_of_a_chunk_that_no_plan_has_is_refused(db: sql.Database) -> None:
    with pytest.raises(DatabaseError, match="is in no recorded plan"):
        sql.record_chunk_done(db, marker("z"))


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_every_state_that_a_job_can_end_in_is_one_the_database_keeps(db: sql.Database, state: JobState) -> None:
    sql.record_job(db, edit_job())
    path = [JobState.SPLITTING, JobState.QUEUED, JobState.EDITING, JobState.STITCHING, JobState.CHECKING, state]
    for step in path:
        sql.change_state(db, JOB, step, "on")
    assert sql.job(db, JOB).state is state
