"""Dispatches and claims: one unfinished dispatch holds a chunk, and a dead owner's dispatch is adopted, not robbed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

import sql
from edits.errors import BusyError, DatabaseError, PermanentError, StateError
from edits.job import JobState
from sql.models import Attempt, Chunk
from sql.owners import owner_is_dead
from sql.records import DispatchState
from tests.fakes.recorded import dispatch, gone, key, recorded_job

JOB = "0" * 16
A, B, C = key("a"), key("b"), key("c")


@pytest.fixture(autouse=True)
def _job(db: sql.Database) -> None:
    recorded_job(db, JOB, "abc")


def test_free_chunks_are_claimed_in_the_order_asked_for(db: sql.Database) -> None:
    result = sql.claim(db, dispatch(), [C, A, C], sql.this_process())
    assert (result.claimed, result.held) == ((C, A), {})
    assert sql.claimed_chunks(db, "d1") == (A, C)


def test_chunks_of_an_unfinished_dispatch_are_held_by_it(db: sql.Database) -> None:
    sql.claim(db, dispatch("d1"), [A, B], sql.this_process())
    result = sql.claim(db, dispatch("d2"), [B, C], sql.this_process())
    assert (result.claimed, result.held) == ((C,), {B: "d1"})


def test_a_claim_of_nothing_records_no_dispatch(db: sql.Database) -> None:
    sql.claim(db, dispatch("d1"), [A], sql.this_process())
    assert sql.claim(db, dispatch("d2"), [A], sql.this_process()).claimed == ()
    with pytest.raises(PermanentError, match="there is no dispatch d2"):
        sql.dispatch(db, "d2")


def test_ending_a_dispatch_frees_its_chunks(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.claim(db, dispatch("d1"), [A, B], owner)
    sql.end_dispatch(db, "d1", DispatchState.FAILED, "b is missing", owner)
    assert sql.claimed_chunks(db, "d1") == ()
    assert sql.claim(db, dispatch("d2"), [A, B], owner).claimed == (A, B)


def test_a_dispatch_is_recorded_once(db: sql.Database) -> None:
    sql.claim(db, dispatch("d1"), [A], sql.this_process())
    with pytest.raises(StateError, match="a dispatch is made once"):
        sql.claim(db, dispatch("d1"), [B], sql.this_process())
    assert sql.claimed_chunks(db, "d1") == (A,)


def test_a_chunk_without_a_plan_is_not_claimed_and_neither_are_the_others(db: sql.Database) -> None:
    with pytest.raises(DatabaseError, match="is in no recorded plan"):
        sql.claim(db, dispatch(), [A, key("z")], sql.this_process())
    assert sql.claim(db, dispatch(), [A], sql.this_process()).claimed == (A,)


def test_the_first_job_of_the_owner_pays_for_a_shared_chunk(db: sql.Database) -> None:
    recorded_job(db, "1" * 16, "ab", line=1)
    owner = sql.this_process()
    sql.take_job(db, "1" * 16, owner)
    sql.take_job(db, JOB, owner)
    sql.claim(db, dispatch(), [A, C], owner)
    with db.read() as session:
        paid = dict(session.execute(sa.select(Chunk.chunk_key, Chunk.claimed_for)).all())
    assert paid == {A: "1" * 16, B: None, C: JOB}


# -- adoption ---------------------------------------------------------------------------------------------------------


def test_a_dead_owners_dispatch_is_adopted_with_its_shards(db: sql.Database) -> None:
    mine = sql.this_process()
    sql.claim(db, dispatch(), [A, B], gone(mine))
    sql.record_shards(db, "d1", 2, "f" * 64, gone(mine))
    (found,) = sql.adoptable(db, [B, C])
    assert (found.dispatch_id, found.state, found.shards, found.digest) == ("d1", DispatchState.WRITTEN, 2, "f" * 64)
    assert sql.adopt(db, "d1", mine)
    assert sql.dispatch(db, "d1").owner == mine
    assert sql.adoptable(db, [A, B, C]) == []


def test_a_dead_owners_chunks_stay_held_until_its_dispatch_is_adopted(db: sql.Database) -> None:
    mine = sql.this_process()
    sql.claim(db, dispatch("d1"), [A], gone(mine))
    assert sql.claim(db, dispatch("d2"), [A], mine).held == {A: "d1"}


def test_a_dead_flow_is_told_with_its_jobs_that_have_not_ended(db: sql.Database) -> None:
    alive, dead = sql.this_process(), gone(sql.this_process())
    for number, owner in enumerate((dead, dead, alive, dead), start=1):
        job_id = str(number) * 16
        recorded_job(db, job_id, "abc", line=number + 2)
        sql.take_job(db, job_id, owner)
    sql.change_state(db, "4" * 16, JobState.FAILED, "it broke")
    assert sql.gone_flows(db) == (sql.GoneFlow("gone", "", ("1" * 16, "2" * 16)),)
    sql.record_flow_run(db, dead, sql.FlowRunRecord("run-1", "f", "me", {}, "1", {}, "l"))
    assert [flow.flow_run_id for flow in sql.gone_flows(db)] == ["run-1"]


def test_a_live_owners_dispatch_is_not_adoptable(db: sql.Database) -> None:
    sql.claim(db, dispatch(), [A], sql.this_process())
    assert sql.adoptable(db, [A]) == []
    assert not sql.adopt(db, "d1", sql.this_process())


def test_only_the_first_adopter_gets_a_dispatch(db: sql.Database) -> None:
    mine, other = sql.this_process(), sql.this_process()
    sql.claim(db, dispatch(), [A], gone(mine))
    assert [sql.adopt(db, "d1", mine), sql.adopt(db, "d1", other), sql.adopt(db, "d1", mine)] == [True, False, True]


def test_a_dispatch_that_has_ended_is_not_adopted(db: sql.Database) -> None:
    mine = sql.this_process()
    sql.claim(db, dispatch(), [A], gone(mine))
    sql.end_dispatch(db, "d1", DispatchState.DONE, "all marked")
    assert sql.adoptable(db, [A]) == []
    assert not sql.adopt(db, "d1", mine)


def test_a_flow_that_lost_its_dispatch_can_neither_begin_a_round_nor_end_it(db: sql.Database) -> None:
    mine = sql.this_process()
    sql.claim(db, dispatch(), [A], gone(mine))
    sql.adopt(db, "d1", mine)
    with pytest.raises(BusyError, match="taken over"):
        sql.begin_round(db, "d1", gone(mine))
    with pytest.raises(BusyError, match="taken over"):
        sql.end_dispatch(db, "d1", DispatchState.DONE, "late", gone(mine))
    assert sql.begin_round(db, "d1", mine) == 1


def test_a_heartbeat_names_the_dispatches_still_held(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.claim(db, dispatch("d1"), [A], owner)
    sql.claim(db, dispatch("d2"), [B], owner)
    sql.end_dispatch(db, "d1", DispatchState.DONE, "all marked", owner)
    assert sql.beat(db, owner).dispatches == {"d2"}


def test_an_owner_on_another_host_is_dead_only_after_a_minute_of_silence() -> None:
    elsewhere = replace(sql.this_process(), host="another", pid=1)
    assert not owner_is_dead(elsewhere, timedelta(seconds=59))
    assert owner_is_dead(elsewhere, timedelta(seconds=61))


def test_an_owner_on_this_host_is_dead_when_its_pid_is_somebody_elses() -> None:
    mine = sql.this_process()
    assert not owner_is_dead(mine, timedelta(0))
    assert owner_is_dead(gone(mine), timedelta(0))
    assert owner_is_dead(replace(mine, pid=2**22 - 1), timedelta(0))


def test_a_process_that_runs_and_is_silent_for_a_minute_is_dead() -> None:
    assert owner_is_dead(sql.this_process(), timedelta(seconds=61))


# -- rounds, attempts, withdrawing ------------------------------------------------------------------------------------


def test_rounds_are_counted_from_one(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.claim(db, dispatch(), [A], owner)
    assert [sql.begin_round(db, "d1", owner), sql.begin_round(db, "d1", owner)] == [1, 2]
    assert sql.dispatch(db, "d1").rounds == 2


def test_a_dispatch_that_has_ended_begins_no_round_and_ends_no_second_time(db: sql.Database) -> None:
    sql.claim(db, dispatch(), [A], sql.this_process())
    sql.end_dispatch(db, "d1", DispatchState.DONE, "all marked")
    with pytest.raises(StateError, match=r"has ended \(done: all marked\)"):
        sql.begin_round(db, "d1")
    with pytest.raises(StateError, match="has ended"):
        sql.end_dispatch(db, "d1", DispatchState.FAILED, "again")


def test_shards_are_written_once(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.claim(db, dispatch(), [A], owner)
    sql.record_shards(db, "d1", 1, "f" * 64, owner)
    with pytest.raises(StateError, match="read them from the store"):
        sql.record_shards(db, "d1", 2, "e" * 64, owner)


def test_a_dispatch_ends_in_an_end_state(db: sql.Database) -> None:
    sql.claim(db, dispatch(), [A], sql.this_process())
    with pytest.raises(StateError, match="it ends as done, failed, withdrawn"):
        sql.end_dispatch(db, "d1", DispatchState.WRITTEN, "no")


def test_an_attempt_recorded_twice_is_one_row_with_the_newer_facts(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.claim(db, dispatch(), [A], owner)
    sql.begin_round(db, "d1", owner)
    now = datetime.now(UTC)
    first = sql.AttemptRecord("d1", 0, 1, None, "", "", 1.0, "cpu", "here", now, now)
    sql.record_attempt(db, first)
    sql.begin_round(db, "d1", owner)
    sql.record_attempt(db, replace(first, exit_code=75, category="store", gpu_seconds=2.5))
    with db.read() as session:
        (row,) = session.scalars(sa.select(Attempt))
    assert (row.round, row.exit_code, row.category, row.gpu_seconds) == (1, 75, "store", 2.5)
    assert row.started_at == now


def test_a_time_without_a_zone_is_refused(db: sql.Database) -> None:
    sql.claim(db, dispatch(), [A], sql.this_process())
    naive = datetime(2026, 1, 1)
    with pytest.raises(DatabaseError, match="has no zone"):
        sql.record_attempt(db, sql.AttemptRecord("d1", 0, 1, 0, "", "", 0, "", "", naive, naive))


def test_a_chunk_is_unwanted_when_all_jobs_that_need_it_have_ended(db: sql.Database) -> None:
    recorded_job(db, "1" * 16, "bc", line=3)
    sql.claim(db, dispatch(), [A, B, C], sql.this_process())
    assert sql.unwanted_chunks(db, "d1") == ()
    sql.request_cancel(db, JOB)
    assert sql.unwanted_chunks(db, "d1") == (A,)
    sql.change_state(db, "1" * 16, JobState.FAILED, "no")
    assert sql.unwanted_chunks(db, "d1") == (A, B, C)


def test_more_chunks_than_one_statement_takes_are_claimed_whole(
    db: sql.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sql.edit_jobs.BATCH", 2)
    recorded_job(db, "1" * 16, "defghij", line=3)
    keys = [key(letter) for letter in "abcdefghij"]
    sql.claim(db, dispatch("d1"), keys[:1], sql.this_process())
    result = sql.claim(db, dispatch("d2"), keys, sql.this_process())
    assert (result.claimed, result.held) == (tuple(keys[1:]), {A: "d1"})
