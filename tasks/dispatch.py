"""The loop over all jobs of a run: claims missing chunks, starts waves of workers, and says when a job is ready."""

from __future__ import annotations

import hashlib
import queue
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import sql
from edits import storage, wire
from edits.errors import RecordError
from edits.job import PROTOCOL, Chunk, EditJob, JobState, Shard
from sql import DispatchRecord, DispatchState
from tasks import record
from tasks.run import Run
from tasks.split import Prepared
from tasks.wave import Wave, pack, shard_chunk

POLL_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""Pause between looks at what others do: claims of other flows, cancellations."""
FAREWELL_SECONDS = 10.0
"""How long workers whose chunks are all done or withdrawn may take to end by themselves."""
SPLITS_AHEAD = 2
"""Rows that are indexed and split at once."""
BACKLOG_PER_WORKER = 64
"""Split chunks a worker that may wait; more would only fill the store."""

Row = TypeVar("Row")


class Future(Protocol):
    """What is used of a Prefect future."""

    def add_done_callback(self, fn: Any) -> None: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any: ...


@dataclass
class OpenJob:
    """A job with chunks to wait for."""

    prepared: Prepared
    waiting: set[str]
    """Chunk keys without a marker so far."""

    @property
    def job(self) -> EditJob:
        return self.prepared.job


class Every:
    """True once every so many seconds, when asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Dispatcher:
    """Edits what is missing of every job, in waves, while later rows are still being split."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open: dict[str, OpenJob] = {}
        self._waves: list[Wave] = []
        self._arrived: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._splitting = 0
        self._others = Every(LOOK_SECONDS)

    def edit(self, rows: Iterable[Row], split: Callable[[Row], Future]) -> Iterator[Prepared]:
        """Have `rows` split a few ahead of the workers, and yield each job as soon as all of its chunks have markers.

        Jobs that fail are recorded and not yielded.
        """
        coming = iter(rows)
        more = True
        try:
            while more or self._splitting or self._open:
                more = more and self._split_ahead(coming, split)
                self._take_arrived()
                look = self._others.due()
                self._start_waves(look)
                self._watch(look)
                yield from self._ready(look)
                time.sleep(POLL_SECONDS)
            self._let_workers_end()
        except KeyboardInterrupt:
            self._cancel_all()
            raise
        finally:
            for wave in self._waves:
                wave.stop("the flow ended")

    def _let_workers_end(self) -> None:
        """The chunks are done before their workers have said good-bye: what they cost is in their last words."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._waves and time.monotonic() < deadline:
            self._watch(look=False)
            time.sleep(POLL_SECONDS)

    # -- splitting

    def _split_ahead(self, coming: Iterator[Row], split: Callable[[Row], Future]) -> bool:
        """Keep a few splits going, unless the workers are far behind; False when there are no more rows."""
        backlog = sum(len(job.waiting) for job in self._open.values())
        while self._splitting < SPLITS_AHEAD and backlog <= BACKLOG_PER_WORKER * self._run.settings.workers:
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
                self._open[prepared.job.job_id] = OpenJob(prepared, set(prepared.missing))
                self._run.board.stage(prepared.job.line, "queue")

    # -- starting waves

    def _start_waves(self, look: bool) -> None:
        """Give free workers something to do; what other flows hold is asked for again when it is time to `look`."""
        free = self._run.settings.workers - sum(wave.running for wave in self._waves)
        lists = self._unassigned() if free > 0 and (look or not self._waves) else []
        if any(lists):
            self._adopt([chunk.chunk_key for members in lists for chunk, _ in members])
        for members in self._unassigned() if lists else []:
            free -= self._claim_and_start(members, free) if free > 0 else 0

    def _unassigned(self) -> list[list[tuple[Chunk, OpenJob]]]:
        """Missing chunks that no wave of ours has in work: a list for each editor and weights, by priority and row."""
        assigned = {key for wave in self._waves for key in wave.missing}
        lists: dict[tuple[str, str], dict[str, tuple[Chunk, OpenJob]]] = {}
        for job in sorted(self._open.values(), key=lambda job: (-job.job.priority, job.job.line)):
            members = lists.setdefault((job.job.editor, job.job.weights), {})
            for chunk in job.prepared.plan.chunks:
                if chunk.chunk_key in job.waiting and chunk.chunk_key not in assigned:
                    members.setdefault(chunk.chunk_key, (chunk, job))
        return [list(members.values()) for members in lists.values() if members]

    def _adopt(self, chunk_keys: list[str]) -> None:
        """Take over dispatches whose flow is dead: the same shards, the next round, only what is missing."""
        for dispatch in sql.adoptable(self._run.db, chunk_keys):
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
            self._begin(Wave(self._run, dispatch, shards), "its flow died; taken over with its shards")

    def _read_shard(self, dispatch_id: str, index: int) -> Shard:
        path = storage.shard_path(dispatch_id, index)
        return wire.load(Shard, self._run.store.read(path), path)

    def _claim_and_start(self, members: list[tuple[Chunk, OpenJob]], free: int) -> int:
        """Claim what no other live flow holds, write the shards, start the workers; returns how many were started."""
        plan = members[0][1].prepared.plan
        job = plan.job
        dispatch = DispatchRecord(uuid.uuid4().hex[:12], job.editor, job.weights, job.weights_digest)
        by_key = {chunk.chunk_key: (chunk, owner) for chunk, owner in members}
        claimed = sql.claim(self._run.db, dispatch, list(by_key), self._run.owner).claimed
        if not claimed:
            return 0
        factor = self._run.catalogue[job.editor].weights[job.weights].geometry.temporal_factor
        chunks = [shard_chunk(by_key[key][1].prepared, by_key[key][0], factor) for key in claimed]
        facts = (job.editor, plan.editor_version, job.weights, job.weights_digest)
        shards = [
            Shard(PROTOCOL, dispatch.dispatch_id, index, *facts, groups)
            for index, groups in enumerate(pack(chunks, free))
        ]
        self._write(dispatch.dispatch_id, shards)
        self._begin(Wave(self._run, dispatch, shards), "the first")
        return len(shards)

    def _write(self, dispatch_id: str, shards: Sequence[Shard]) -> None:
        whole = hashlib.sha256()
        for shard in shards:
            data = wire.dump(shard)
            whole.update(data)
            self._run.store.put_bytes(storage.shard_path(dispatch_id, shard.index), data)
        sql.record_shards(self._run.db, dispatch_id, len(shards), whole.hexdigest(), self._run.owner)

    def _begin(self, wave: Wave, cause: str) -> None:
        self._waves.append(wave)
        for job in self._open.values():
            if job.waiting & wave.missing and sql.job(self._run.db, job.job.job_id).state is JobState.QUEUED:
                self._run.board.stage(job.job.line, "edit", total=len(job.prepared.missing))
                sql.change_state(self._run.db, job.job.job_id, JobState.EDITING, f"dispatch {wave.dispatch_id}")
        wave.start_round(cause)

    # -- watching

    def _watch(self, look: bool) -> None:
        for wave in self._waves:
            wave.poll()
            for job in self._open.values():
                job.waiting -= wave.done
            self._fail_jobs(wave)
        self._waves = [wave for wave in self._waves if not wave.ended]
        if look and self._open:
            self._withdraw_cancelled()

    def _fail_jobs(self, wave: Wave) -> None:
        """End the jobs that need a chunk which failed."""
        failures, wave.failures = wave.failures, {}
        for job in [job for job in self._open.values() if job.waiting & failures.keys()]:
            chunk = next(c for c in job.prepared.plan.chunks if c.chunk_key in failures and c.chunk_key in job.waiting)
            failure = failures[chunk.chunk_key]
            message = f"editing frames {chunk.start}-{chunk.end - 1} failed: {failure.message}"
            del self._open[job.job.job_id]
            record.end_job(self._run, job.job, JobState.FAILED, message, failure.category)

    def _ready(self, look: bool) -> Iterator[Prepared]:
        """Jobs whose chunks are all marked, by this flow's workers or another's."""
        assigned = {key for wave in self._waves for key in wave.missing}
        for job in list(self._open.values()):
            if look:
                elsewhere = job.waiting - assigned
                job.waiting -= {key for key in elsewhere if storage.valid_marker(self._run.store, key) is not None}
            total = len(job.prepared.missing)
            self._run.board.advance(job.job.line, total - len(job.waiting), total)
            if not job.waiting:
                del self._open[job.job.job_id]
                yield job.prepared

    # -- cancelling

    def _withdraw_cancelled(self) -> None:
        for job_id in sql.cancel_requested(self._run.db, list(self._open)):
            job = self._open.pop(job_id)
            wanted = {key for other in self._open.values() for key in other.waiting}
            for wave in self._waves:
                wave.withdraw(job.waiting - wanted)
            record.end_job(self._run, job.job, JobState.CANCELLED, "cancelled on request")

    def _cancel_all(self) -> None:
        self._run.cancelled.set()
        for job in self._open.values():
            record.end_job(self._run, job.job, JobState.CANCELLED, "interrupted")
        for wave in self._waves:
            wave.withdraw(set(wave.missing))
