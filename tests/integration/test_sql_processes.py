"""Several flows on one database, as real processes: nothing is given twice, and what a killed one held is free."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

import pytest

import sql
from edits.errors import StateError
from edits.job import JobState
from sql.revisions import head
from tests.fakes.recorded import dispatch, edit_job, key, marker, plan, recorded_job

SPAWN = multiprocessing.get_context("spawn")
JOB = "0" * 16
NAMES = [f"{number:03d}" for number in range(120)]
FLOWS = 8

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def flows() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(FLOWS, mp_context=SPAWN) as pool:
        yield pool


def at_once(pool: ProcessPoolExecutor, work: Callable[[str, int], Result], url: str) -> list[Result]:
    """`work(url, number)` in eight processes; what each returned."""
    return [future.result() for future in [pool.submit(work, url, number) for number in range(FLOWS)]]


# -- work of one flow -------------------------------------------------------------------------------------------------


def migrate_and_open(url: str, number: int) -> str | None:
    made = sql.connect(url)
    sql.migrate(made)
    made.close()
    db = sql.open_database(url)
    found = sql.revision(db)
    db.close()
    return found


def claim_in_small_bites(url: str, number: int) -> list[str]:
    db, owner = sql.open_database(url), sql.this_process()
    keys = [key(name) for name in NAMES]
    got: list[str] = []
    for start in range(0, len(keys), 10):
        wanted = keys[start : start + 25]
        got += sql.claim(db, dispatch(f"d{number}-{start}"), wanted, owner).claimed
    db.close()
    return got


def adopt_the_dispatch(url: str, number: int) -> bool:
    db = sql.open_database(url)
    adopted = sql.adopt(db, "d1", sql.this_process())
    db.close()
    return adopted


def take_the_job(url: str, number: int) -> bool:
    db = sql.open_database(url)
    taken = sql.take_job(db, JOB, sql.this_process())
    db.close()
    return taken


def start_splitting(url: str, number: int) -> bool:
    db = sql.open_database(url)
    try:
        sql.change_state(db, JOB, JobState.SPLITTING, f"flow {number}")
    except StateError:
        return False
    finally:
        db.close()
    return True


def record_everything(url: str, number: int) -> None:
    """The whole chain for one job of its own and one that all share."""
    db = sql.open_database(url)
    for job in (edit_job(), edit_job(f"{number + 1}" * 16, number + 3)):
        sql.record_job(db, job)
        sql.record_plan(db, plan(job, NAMES[:20]))
    for name in NAMES[:20]:
        sql.record_chunk_done(db, marker(name))
    db.close()


def hold_everything(url: str, ready: Connection) -> None:
    db, owner = sql.open_database(url), sql.this_process()
    sql.take_job(db, JOB, owner)
    sql.claim(db, dispatch(), [key("a")], owner)
    ready.send(owner.pid)
    signal.pause()


# -- facts ------------------------------------------------------------------------------------------------------------


def test_eight_flows_that_migrate_a_new_database_at_once_all_find_its_tables(
    flows: ProcessPoolExecutor, new_address: Callable[..., str]
) -> None:
    assert at_once(flows, migrate_and_open, new_address()) == [head()] * FLOWS


def test_eight_flows_that_claim_the_same_chunks_get_each_chunk_once(
    flows: ProcessPoolExecutor, db: sql.Database, address: str
) -> None:
    recorded_job(db, JOB, NAMES)
    given = Counter(chunk for got in at_once(flows, claim_in_small_bites, address) for chunk in got)
    assert given == Counter(key(name) for name in NAMES)


def test_of_eight_flows_one_adopts_a_dead_ones_dispatch(
    flows: ProcessPoolExecutor, db: sql.Database, address: str
) -> None:
    recorded_job(db)
    _killed_while_holding(address)
    assert sum(at_once(flows, adopt_the_dispatch, address)) == 1


def test_of_eight_flows_one_takes_a_dead_ones_job(flows: ProcessPoolExecutor, db: sql.Database, address: str) -> None:
    recorded_job(db)
    _killed_while_holding(address)
    assert sum(at_once(flows, take_the_job, address)) == 1


def test_of_eight_flows_one_changes_a_jobs_state_and_one_event_says_so(
    flows: ProcessPoolExecutor, db: sql.Database, address: str
) -> None:
    recorded_job(db)
    assert sum(at_once(flows, start_splitting, address)) == 1
    assert [event.after for event in sql.job_events(db, JOB)] == [JobState.PLANNED, JobState.SPLITTING]


def test_eight_flows_that_record_at_once_lose_and_double_nothing(
    flows: ProcessPoolExecutor, db: sql.Database, address: str
) -> None:
    at_once(flows, record_everything, address)
    table = sql.job_table(db)
    assert len(table) == FLOWS + 1
    assert {(line.chunks, line.chunks_done) for line in table} == {(20, 20)}
    assert len(sql.job_events(db, JOB)) == 1


def test_what_a_killed_flow_held_is_free_before_its_parent_has_even_looked(db: sql.Database, address: str) -> None:
    recorded_job(db)
    process = _holding(address)
    mine = sql.this_process()
    assert not sql.take_job(db, JOB, mine)
    assert sql.adoptable(db, [key("a")]) == []
    os.kill(process.pid or 0, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid or 0, os.WEXITED | os.WNOWAIT)  # dead, and left a zombie
    assert sql.take_job(db, JOB, mine)
    assert [found.dispatch_id for found in sql.adoptable(db, [key("a")])] == ["d1"]
    process.join()


def test_a_cancel_from_another_process_reaches_the_flow_that_holds_the_job(db: sql.Database, address: str) -> None:
    recorded_job(db)
    process = _holding(address)
    assert sql.request_cancel(db, JOB).cancel_requested
    other = sql.open_database(address)
    assert sql.cancel_requested(other, [JOB]) == {JOB}
    other.close()
    process.kill()
    process.join()


def _holding(url: str) -> multiprocessing.process.BaseProcess:
    """A live flow that holds the job and, with dispatch d1, chunk a."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold_everything, args=(url, theirs), daemon=True)
    process.start()
    assert ours.poll(60), "the flow did not start"
    assert ours.recv() == process.pid
    ours.close()
    theirs.close()
    return process


def _killed_while_holding(url: str) -> None:
    process = _holding(url)
    process.kill()
    process.join()
