"""The loop over all jobs of a run: claims missing chunks, starts waves of workers, and says when a job is ready."""

from __future__ import annotations

import hashlib
import logging
import queue
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import sql
from edits import storage, wire
from edits.errors import RecordError, StoreError
from edits.job import PROTOCOL, JobState, Shard
from sql import DispatchRecord, DispatchState
from tasks import record
from tasks.clock import Clock, Every, WallClock
from tasks.demand import Demand, OpenJob, Wanted
from tasks.packing import Timings, pack, packed_size, shard_chunk
from tasks.prefect_runs import this_run_is_cancelled
from tasks.run import Run
from tasks.split import Prepared
from tasks.timings import timings_of
from tasks.wave import Wave

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Pause between looks at what others do: claims of other flows, cancellations."""
ASK_SECONDS = 10.0
"""How often Prefect is asked whether somebody has cancelled the run."""
FAREWELL_SECONDS = 10.0
"""How long workers whose chunks are all done may take to end by themselves."""
STOP_SECONDS = 60.0
"""How long workers that are told to end may take."""
SPLITS_AHEAD = 2
"""Rows that are indexed and split at once."""
BACKLOG_PER_WORKER = 64
"""Split chunks a worker that may wait; more would only fill the store."""
TIMING_SECONDS = 60.0
"""How often the database is asked how long a chunk takes."""
REMIND_SECONDS = 600.0
"""A trouble that stays is said again after so long."""

Row = TypeVar("Row")


class Future(Protocol):
    """What is used of a Prefect future."""

    def add_done_callback(self, fn: Any) -> None: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any: ...


class Dispatcher:
    """Edits what is missing of every job, in waves, while later rows are still being split."""

    def __init__(self, run: Run, clock: Clock | None = None) -> None:
        """Raises what the executor raises that cannot be made: before anything is split."""
        self._run = run
        self._executor = run.executor
        self._clock = clock or WallClock()
        self._demand = Demand()
        self._waves: list[Wave] = []
        self._held: set[str] = set()
        """Chunks that another flow's dispatch holds."""
        self._arrived: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._splitting = 0
        self._others = Every(LOOK_SECONDS, self._clock)
        self._prefect = Every(ASK_SECONDS, self._clock)
        self._timings: dict[tuple[str, str], Timings] = {}
        self._timing: dict[tuple[str, str], Every] = {}
        self._told: dict[str, Every] = {}
        self._shown: dict[str, str] = {}
        """Trouble of each dispatch that the board shows."""

    def edit(self, rows: Iterable[Row], split: Callable[[Row], Future]) -> Iterator[Prepared]:
        """Have `rows` split a few ahead of the workers, and yield each job as soon as all of its chunks have markers.

        Jobs that fail are recorded and not yielded. Whatever else ends the loop leaves workers that can live without
        the flow alone: the next run of the same manifest takes them over.
        """
        coming = iter(rows)
        more = True
        try:
            while more or self._splitting or self._demand.jobs:
                if self._prefect.due() and this_run_is_cancelled():
                    self.cancel_all()
                    return
                more = more and self._split_ahead(coming, split)
                self._take_arrived()
                look = self._others.due()
                self._start_waves(look)
                self._watch(look)
                yield from self._ready()
                self._clock.sleep(self._executor.poll_seconds)
            self._let_workers_end()
        except KeyboardInterrupt:
            self.cancel_all()
            raise
        except BaseException as error:
            if not isinstance(error, Exception | GeneratorExit) and this_run_is_cancelled():
                self.cancel_all()
            for wave in self._waves:
                wave.leave()
            raise

    def cancel_all(self) -> None:
        """Ctrl-C, or the run was cancelled in Prefect: end every open job, and every worker that nobody else needs."""
        self._run.cancelled.set()
        for job in list(self._demand.jobs.values()):
            self._demand.drop(job.job.job_id)
            record.end_job(self._run, job.job, JobState.CANCELLED, "interrupted")
        for wave in self._waves:
            wave.withdraw(set(wave.missing))
        self._stop_waves("interrupted")

    def _let_workers_end(self) -> None:
        """The chunks are done before their workers have said good-bye: what they cost is in their last words."""
        deadline = self._clock.now() + FAREWELL_SECONDS
        while self._waves and self._clock.now() < deadline:
            self._watch(look=False)
            self._clock.sleep(self._executor.poll_seconds)
        self._stop_waves("the flow ended")

    def _stop_waves(self, reason: str) -> None:
        """End what still runs. A wave that does not end in time stays on record for the doctor and for `reconcile`."""
        deadline = self._clock.now() + STOP_SECONDS
        for wave in self._waves:
            wave.stop(reason)
        while self._waves and self._clock.now() < deadline:
            for wave in self._waves:
                wave.poll()
            self._waves = [wave for wave in self._waves if not wave.ended]
            if self._waves:
                self._clock.sleep(self._executor.poll_seconds)

    # -- splitting

    def _split_ahead(self, coming: Iterator[Row], split: Callable[[Row], Future]) -> bool:
        """Keep a few splits going, unless the workers are far behind; False when there are no more rows."""
        while self._splitting < SPLITS_AHEAD and len(self._demand) <= BACKLOG_PER_WORKER * self._executor.places:
            row = next(coming, None)
            if row is None:
                return False
            self._splitting += 1
            split(row).add_done_callback(self._arrived.put)
        return True

    def _take_arrived(self) -> None:
        """Take over what has been split since the last look; a split that failed has been recorded by its task."""
        while not self._arrived.empty():
            self._splitting -= 1
            prepared = self._arrived.get().result(raise_on_failure=False)
            if isinstance(prepared, Prepared) and not prepared.settled:
                self._run.board.stage(prepared.job.line, "queue")
                self._demand.add(prepared)
                for wave in self._waves:
                    self._in_work(wave, wave.missing.intersection(prepared.missing))

    # -- starting waves

    def _start_waves(self, look: bool) -> None:
        """Take over what dead flows have left, then give free places something to do."""
        if not self._demand.has_loose() or not (look or not self._waves):
            return
        self._adopt()
        if self._free > 0:
            paused = sql.paused_jobs(self._run.db, self._run.owner)
            for kind, members in self._demand.loose(paused).items():
                if (free := self._free) > 0:
                    self._claim_and_start(kind, [wanted for wanted in members if wanted.key not in self._held], free)
        if not self._waves and self._run.gpu_hours.limit_hours is not None:
            self._end_for_budget()

    @property
    def _free(self) -> int:
        """Places that no wave occupies."""
        return self._executor.places - sum(wave.places for wave in self._waves)

    def _adopt(self) -> None:
        """Take over dispatches whose flow is dead: the same shards, the round that runs, or the next one.

        Asked of chunks that have just come and of those that others hold: nobody who died has any of the rest.
        """
        asked = self._demand.take_new() | self._held
        for dispatch in sql.adoptable(self._run.db, asked) if asked else ():
            if not sql.adopt(self._run.db, dispatch.dispatch_id, self._run.owner):
                continue
            if dispatch.state is DispatchState.CLAIMED:
                reason = "its flow died before the shards were written"
                sql.end_dispatch(self._run.db, dispatch.dispatch_id, DispatchState.FAILED, reason)
                continue
            try:
                shards = [self._read_shard(dispatch.dispatch_id, index) for index in range(dispatch.shards)]
            except RecordError as error:
                sql.end_dispatch(self._run.db, dispatch.dispatch_id, DispatchState.FAILED, str(error))
                continue
            wave = self._wave(dispatch, shards, self._executor.places)
            self._enter(wave)
            wave.resume("its flow died; taken over with its shards")

    def _read_shard(self, dispatch_id: str, index: int) -> Shard:
        path = storage.shard_path(dispatch_id, index)
        return wire.load(Shard, self._run.store.read(path), path)

    def _claim_and_start(self, kind: tuple[str, str], members: Sequence[Wanted], free: int) -> None:
        """Claim what no other live flow holds, write the shards, start the workers."""
        timings = self._timings_of(kind, members)
        under_way = sum(len(wave.missing) for wave in self._waves)
        members = whole_groups(members, self._run.gpu_hours.room(under_way, timings.chunk, len(members)))
        if not members:
            return
        _, count = packed_size(len(members), free, self._executor.places, timings)
        by_key = {wanted.key: wanted for wanted in whole_groups(members, count)}
        plan = members[0].prepared.plan
        job = plan.job
        dispatch = DispatchRecord(uuid.uuid4().hex[:12], job.editor, job.weights, job.weights_digest)
        result = sql.claim(self._run.db, dispatch, list(by_key), self._run.owner)
        self._held |= result.held.keys()
        if not result.claimed:
            return
        factor = self._run.catalogue[job.editor].weights[job.weights].geometry.temporal_factor
        chunks = [shard_chunk(by_key[key].prepared, by_key[key].chunk, factor) for key in result.claimed]
        count, _ = packed_size(len(chunks), free, self._executor.places, timings)
        facts = (job.editor, plan.editor_version, job.weights, job.weights_digest)
        shards = [
            Shard(PROTOCOL, dispatch.dispatch_id, index, *facts, groups)
            for index, groups in enumerate(pack(chunks, count))
        ]
        try:
            digest = self._write(dispatch.dispatch_id, shards)
        except StoreError as error:
            log.warning("no workers are started yet: %s", error)
            sql.end_dispatch(self._run.db, dispatch.dispatch_id, DispatchState.FAILED, str(error))
            return
        written = replace(dispatch, digest=digest, shards=len(shards))
        wave = self._wave(written, shards, min(free, len(shards)))
        self._enter(wave)
        wave.start_round("the first")

    def _timings_of(self, kind: tuple[str, str], members: Sequence[Wanted]) -> Timings:
        """What was measured lately, in earlier runs and in this one, else the card's figures: those may be far off, and
        the shards of a later wave must not be."""
        if members and self._timing.setdefault(kind, Every(TIMING_SECONDS, self._clock)).due():
            self._timings[kind] = timings_of(self._run, members[0].prepared.plan)
        return self._timings.get(kind, Timings(0.0, 1.0))

    def _write(self, dispatch_id: str, shards: Sequence[Shard]) -> str:
        whole = hashlib.sha256()
        for shard in shards:
            data = wire.dump(shard)
            whole.update(data)
            self._run.store.put_bytes(storage.shard_path(dispatch_id, shard.index), data)
        sql.record_shards(self._run.db, dispatch_id, len(shards), whole.hexdigest(), self._run.owner)
        return whole.hexdigest()

    def _wave(self, dispatch: DispatchRecord, shards: Sequence[Shard], places: int) -> Wave:
        jobs = self._demand.needing(chunk.chunk_key for shard in shards for chunk in shard.chunks)
        priority = max((job.job.priority for job in jobs), default=0)
        return Wave(self._run, dispatch, shards, self._clock, places=places, priority=priority)

    def _enter(self, wave: Wave) -> None:
        self._waves.append(wave)
        self._held -= wave.missing
        self._in_work(wave, wave.missing)

    def _in_work(self, wave: Wave, chunk_keys: set[str]) -> None:
        """The wave has these chunks, and so the jobs that need them have begun."""
        self._demand.take_on(chunk_keys)
        for job in self._demand.needing(chunk_keys):
            if job.begun:
                continue
            job.begun = True
            if sql.job(self._run.db, job.job.job_id).state is JobState.QUEUED:
                self._run.board.stage(job.job.line, "edit", total=len(job.prepared.missing))
                sql.change_state(self._run.db, job.job.job_id, JobState.EDITING, f"dispatch {wave.dispatch_id}")

    # -- watching

    def _watch(self, look: bool) -> None:
        for wave in self._waves:
            fresh = wave.poll()
            jobs = self._demand.needing(fresh)
            self._demand.done(fresh)
            for job in jobs:
                total = len(job.prepared.missing)
                self._run.board.advance(job.job.line, total - len(job.waiting), total)
            self._fail_jobs(wave)
            self._tell(wave)
            if wave.ended:
                self._demand.let_go(wave.missing)
        self._waves = [wave for wave in self._waves if not wave.ended]
        if look and self._demand.jobs:
            self._look_elsewhere()
            self._withdraw_cancelled()
            self._stop_at_limit()

    def _fail_jobs(self, wave: Wave) -> None:
        """End the jobs that need a chunk which failed."""
        failures, wave.failures = wave.failures, {}
        for job in self._demand.needing(failures):
            chunk = next(c for c in job.prepared.plan.chunks if c.chunk_key in failures and c.chunk_key in job.waiting)
            failure = failures[chunk.chunk_key]
            message = f"editing frames {chunk.start}-{chunk.end - 1} failed: {failure.message}"
            self._withdraw(self._demand.drop(job.job.job_id))
            record.end_job(self._run, job.job, JobState.FAILED, message, failure.category)

    def _tell(self, wave: Wave) -> None:
        """Say why a wave does not get on, in the log, on the board and in the history of the jobs that wait for it."""
        if wave.trouble != self._shown.get(wave.dispatch_id, ""):
            self._shown[wave.dispatch_id] = wave.trouble
            for job in self._demand.needing(wave.missing):
                self._run.board.say(job.job.line, wave.trouble)
        if not wave.trouble or not self._told.setdefault(wave.dispatch_id, Every(REMIND_SECONDS, self._clock)).due():
            return
        log.warning("dispatch %s: %s", wave.dispatch_id, wave.trouble)
        for job in self._demand.needing(wave.missing):
            sql.note(self._run.db, job.job.job_id, wave.trouble, "waiting")

    def _look_elsewhere(self) -> None:
        """Chunks that other flows hold: done ones are done, and those that they let go can be claimed."""
        if not self._held:
            return
        held, done = sql.claims_on(self._run.db, self._held)
        marked = {key for key in done if storage.valid_marker(self._run.store, key) is not None}
        self._demand.done(marked)
        self._held = self._held.intersection(held) - marked

    def _ready(self) -> Iterator[Prepared]:
        """Jobs whose chunks are all marked, by this flow's workers or another's."""
        for job in self._demand.take_ready():
            total = len(job.prepared.missing)
            self._run.board.advance(job.job.line, total, total)
            yield job.prepared

    # -- ending early

    def _withdraw_cancelled(self) -> None:
        for job_id in sql.cancel_requested(self._run.db, self._run.owner) & self._demand.jobs.keys():
            self._end_early(self._demand.jobs[job_id], JobState.CANCELLED, "cancelled on request")

    def _stop_at_limit(self) -> None:
        """Estimates can be wrong: once the limit is spent, what is under way is given up too."""
        if self._run.gpu_hours.reached:
            for job in list(self._demand.jobs.values()):
                said = self._run.gpu_hours.said(len(job.waiting))
                self._end_early(job, JobState.FAILED, said, "budget")

    def _end_for_budget(self) -> None:
        """The limit is reached and nothing runs any more."""
        kinds = self._demand.loose()
        members = [wanted for members in kinds.values() for wanted in members if wanted.key not in self._held]
        seconds = min((self._timings_of(kind, members).chunk for kind, members in kinds.items()), default=0.0)
        if members and not self._run.gpu_hours.room(0, seconds, 1):
            for job in self._demand.needing(wanted.key for wanted in members):
                said = self._run.gpu_hours.said(len(job.waiting))
                self._end_early(job, JobState.FAILED, said, "budget")

    def _end_early(self, job: OpenJob, state: JobState, reason: str, category: str = "") -> None:
        self._withdraw(self._demand.drop(job.job.job_id))
        record.end_job(self._run, job.job, state, reason, category)

    def _withdraw(self, chunk_keys: set[str]) -> None:
        for wave in self._waves:
            wave.withdraw(chunk_keys)


def whole_groups(members: Sequence[Wanted], count: int) -> Sequence[Wanted]:
    """The first `count` of them, and the rest of what is edited as one with the last of these."""
    if not 0 < count < len(members):
        return members[:count]
    last = members[count - 1].group
    while count < len(members) and members[count].group == last:
        count += 1
    return members[:count]
