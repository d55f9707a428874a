"""Several flows on one database, as real processes: nothing is given twice, and what a killed one held is free."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import TypeVar

import pytest
import sqlalchemy as sa

import sql
from edits.errors import StateError
from edits.job import EditJob, JobState
from sql.models import ArtifactInput, Attempt, Dispatch, Event, Round, Share
from sql.revisions import head
from tests.fakes.recorded import dispatch, edit_job, key, marker, plan, recorded_job

SPAWN = multiprocessing.get_context("spawn")
JOB = "0" * 16
NAMES = [f"{number:03d}" for number in range(120)]
FLOWS = 8
MINUTE = 60.0
STEPS = 16
"""Transactions in which one job is delivered."""

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def flows() -> Iterator[ProcessPoolExecutor]:
    forks = multiprocessing.get_context("forkserver")  # real processes as well, and one import for all eight
    forks.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(FLOWS, mp_context=forks) as pool:
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


def deliver_for_a_while(url: str, number: int) -> tuple[int, float]:
    """Jobs of its own from first to last, all with chunks that the others want too: how many, and their seconds."""
    db, owner = sql.open_database(url), sql.this_process()
    deadline = time.monotonic() + MINUTE
    jobs, seconds = 0, 0.0
    while time.monotonic() < deadline:
        job = edit_job(f"{number:02x}{jobs:014x}", line=number + 2)
        names = [f"f{number}{jobs:07x}{k}" for k in range(4)] + NAMES[jobs % 100 : jobs % 100 + 2]
        seconds += deliver(db, owner, job, names)
        jobs += 1
    db.close()
    return jobs, seconds


def deliver(db: sql.Database, owner: sql.Owner, job: EditJob, names: list[str]) -> float:
    """All that a run records of one job; the GPU-seconds of its attempt."""
    sql.record_job(db, job, owner)
    assert sql.take_job(db, job.job_id, owner)
    sql.change_state(db, job.job_id, JobState.SPLITTING, "its turn")
    sql.record_plan(db, plan(job, names))
    sql.change_state(db, job.job_id, JobState.QUEUED, "split")
    made = dispatch(job.job_id)
    claimed = sql.claim(db, made, [key(name) for name in names], owner).claimed
    sql.record_shards(db, made.dispatch_id, 1, "0" * 64, owner)
    sql.begin_round(db, made.dispatch_id, owner, "the first")
    sql.record_chunk_done(db, *(marker(name) for name in names))
    now = datetime.now(UTC)
    facts = (0, "done", "", 0.5 * len(claimed), "cpu", "here", now, now, claimed, 3600.0, "EUR")
    sql.record_attempt(db, sql.AttemptRecord(made.dispatch_id, 0, 0, *facts))
    sql.end_dispatch(db, made.dispatch_id, sql.DispatchState.DONE, "done", owner)
    sql.change_state(db, job.job_id, JobState.STITCHING, "edited")
    sql.change_state(db, job.job_id, JobState.CHECKING, "stitched")
    sql.record_output_digest(db, job.job_id, job.output, f"{job.job_id:0>64}", 5, owner=owner)
    sql.record_lineage(db, job.job_id, {key(name): marker(name).sha256 for name in names})
    sql.change_state(db, job.job_id, JobState.DELIVERED, "published", owner=owner)
    sql.release_job(db, job.job_id, owner)
    return 0.5 * len(claimed)


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


@pytest.mark.endurance
def test_eight_flows_that_deliver_for_a_minute_lose_and_double_nothing(
    flows: ProcessPoolExecutor, db: sql.Database, address: str
) -> None:
    told = at_once(flows, deliver_for_a_while, address)
    jobs, seconds = sum(count for count, _ in told), sum(spent for _, spent in told)
    sys.stdout.write(f"\n{address.partition(':')[0]}: {jobs} jobs, {jobs * STEPS / MINUTE:.0f} transactions a second\n")
    assert sql.counts(db)[JobState.DELIVERED] == jobs
    (usage,) = sql.usage(db, by=[])
    assert (usage.gpu_seconds, usage.cost) == (pytest.approx(seconds), pytest.approx(seconds))
    with db.read() as session:
        events = session.execute(sa.select(Event.job_id, sa.func.count()).group_by(Event.job_id)).all()
        assert Counter(count for _, count in events) == {6: jobs}
        for table, expected in ((Attempt, jobs), (Round, jobs), (ArtifactInput, 7 * jobs)):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == expected
        assert session.scalar(sa.select(sa.func.sum(Share.gpu_seconds))) == pytest.approx(seconds)
        assert session.scalar(sa.select(sa.func.count()).select_from(Dispatch).where(Dispatch.state != "done")) == 0


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
    asked = sql.request_cancel(db, JOB)
    assert asked.cancel_requested
    assert asked.owner is not None
    other = sql.open_database(address)
    assert sql.cancel_requested(other, asked.owner) == {JOB}
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
