"""One dispatch in work: its shards packed once, its rounds of workers, and what is known of its chunks.

Whoever takes a dead flow's dispatch over makes a `Wave` of the same shards: they are never packed again.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import sql
from edits import storage
from edits.job import Chunk, ChunkFailure, Shard, ShardChunk, WorkerStatus
from edits.shots import asked_of
from sql import AttemptRecord, DispatchRecord, DispatchState
from tasks.exits import outcome_of
from tasks.groups import grouped, windows_of
from tasks.local import LocalExecutor
from tasks.run import Run
from tasks.shard import worker_variables
from tasks.split import Prepared

MAX_ROUNDS = 3
"""Rounds of a dispatch that may fail before its missing chunks do."""
MAX_KILLED = 10
"""Rounds that may end because workers were killed: not the chunks' fault, but not for ever."""


def pack(chunks: Sequence[ShardChunk], shards: int) -> list[tuple[tuple[ShardChunk, ...], ...]]:
    """Deal `chunks` into at most `shards` runs of nearly equal length, in order: one video's chunks stay together.

    Chunks that are edited as one stay in one shard.
    """
    groups = grouped(chunks)
    count = min(shards, len(groups))
    bounds = [len(groups) * k // count for k in range(count + 1)]
    return [tuple(groups[a:b]) for a, b in pairwise(bounds)]


def shard_chunk(prepared: Prepared, chunk: Chunk, temporal_factor: int) -> ShardChunk:
    """What the worker is told of one chunk."""
    job, plan = prepared.job, prepared.plan
    instruction, seed = asked_of(job, chunk.shot)
    windows = windows_of(plan, chunk)
    return ShardChunk(
        chunk_key=chunk.chunk_key,
        input_key=chunk.input_key,
        input_sha256=prepared.inputs[chunk.input_key].sha256,
        frames=chunk.frames,
        width=plan.width,
        height=plan.height,
        instruction=instruction,
        seed=seed,
        sampling=job.sampling,
        first_latent=(chunk.start - chunk.noise_origin) // temporal_factor,
        group=windows[0].chunk_key if len(windows) > 1 else "",
        windows=len(windows),
        deep=plan.deep,
    )


def cause_of(code: int, status: WorkerStatus | None) -> tuple[str, str]:
    """Category and message of a worker's end: the first thing that failed, if the worker could still say so."""
    outcome = outcome_of(code)
    if code == 0 or status is None or not (status.failed or status.problem):
        return outcome.category, outcome.summary
    if not status.failed:
        return outcome.category, status.problem
    first = status.failed[0]
    more = f" (and {len(status.failed) - 1} more)" if len(status.failed) > 1 else ""
    return first.category, f"{first.message}{more}"


class Wave:
    """One dispatch: its shards, its current round, and what is known of its chunks."""

    def __init__(self, run: Run, dispatch: DispatchRecord, shards: Sequence[Shard]) -> None:
        self.dispatch_id = dispatch.dispatch_id
        self.missing = {chunk.chunk_key for shard in shards for chunk in shard.chunks}
        self.done: set[str] = set()
        self.failures: dict[str, ChunkFailure] = {}
        self.ended = False
        self._run = run
        self._shards = shards
        self._executor: LocalExecutor | None = None
        self._attempt = 0
        self._began: dict[int, datetime] = {}
        self._rounds = 0
        self._counted = 0
        self._killed = 0

    @property
    def running(self) -> int:
        """Workers that this wave occupies."""
        return 0 if self._executor is None else sum(code is None for code in self._executor.poll().values())

    def start_round(self, cause: str) -> None:
        """Start a worker for every shard that has chunks missing; `cause` says why there has to be a round."""
        self._settle_markers(self.missing, edited_now=self._rounds > 0)
        self._rounds += 1
        indexes = [s.index for s in self._shards if any(c.chunk_key in self.missing for c in s.chunks)]
        if not indexes:
            self._end(DispatchState.DONE, "every chunk is marked")
            return
        self._attempt = sql.begin_round(self._run.db, self.dispatch_id, self._run.owner, cause) - 1
        self._began = dict.fromkeys(indexes, datetime.now(UTC))
        settings = self._run.settings
        self._executor = LocalExecutor(
            settings.store,
            settings.workers,
            settings.state_folder / "logs",
            settings.endpoint_url,
            variables=worker_variables(settings),
        )
        self._executor.start(self.dispatch_id, indexes, self._attempt)

    def poll(self) -> None:
        """Read the statuses; when all workers of the round have ended, settle it."""
        if self.ended or self._executor is None:
            return
        codes = self._executor.poll()
        statuses = storage.read_statuses(self._run.store, self.dispatch_id, codes, self._attempt)
        for status in statuses.values():
            self._settle_markers(self.missing.intersection(status.done), edited_now=True)
        if all(code is not None for code in codes.values()):
            self._settle_round({i: code for i, code in codes.items() if code is not None}, statuses)

    def withdraw(self, chunk_keys: Iterable[str]) -> None:
        """Tell the workers that nobody wants these any more."""
        unwanted = self.missing.intersection(chunk_keys)
        if unwanted:
            storage.withdraw(self._run.store, self.dispatch_id, unwanted)
            self.missing -= unwanted

    def stop(self, reason: str) -> None:
        """End the workers and the claims now; what the workers have cost is recorded all the same."""
        if self.ended:
            return
        if self._executor is not None:
            self._executor.stop()
            codes = {index: code for index, code in self._executor.poll().items() if code is not None}
            statuses = storage.read_statuses(self._run.store, self.dispatch_id, codes, self._attempt)
            self._record_attempts(codes, statuses)
        if self.missing:
            self._end(DispatchState.WITHDRAWN, reason)
        else:
            self._end(DispatchState.DONE, "every chunk is marked")

    def _settle_markers(self, chunk_keys: Iterable[str], *, edited_now: bool) -> None:
        """Chunks that have a marker are done; those found before the first round were done by somebody else."""
        for key in list(chunk_keys):
            marker = storage.valid_marker(self._run.store, key)
            if marker is not None:
                sql.record_chunk_done(self._run.db, marker)
                if edited_now:
                    self._run.edited[key] = marker
                self.missing.discard(key)
                self.done.add(key)

    def _settle_round(self, codes: dict[int, int], statuses: dict[int, WorkerStatus]) -> None:
        """All workers have ended: record the attempts, then finish, fail or go round again."""
        assert self._executor is not None
        self._executor.stop()
        self._executor = None
        outcomes = {index: outcome_of(code) for index, code in codes.items()}
        self._record_attempts(codes, statuses)
        self._settle_markers(self.missing, edited_now=True)
        for shard in self._shards:
            if shard.index in codes:
                self._settle_failures(shard, codes[shard.index], statuses.get(shard.index))
        if any(outcome.counts for outcome in outcomes.values()):
            self._counted += 1
        else:
            self._killed += 1
        if not self.missing:
            state = DispatchState.FAILED if self.failures else DispatchState.DONE
            self._end(state, f"{len(self.failures)} chunks failed" if self.failures else "every chunk is marked")
        elif self._counted >= MAX_ROUNDS or self._killed >= MAX_KILLED:
            self._give_up(codes, statuses)
        else:
            ends = sorted({outcome.summary for outcome in outcomes.values() if outcome.retry})
            self.start_round(f"{len(self.missing)} chunks are missing: {'; '.join(ends)}")

    def _settle_failures(self, shard: Shard, code: int, status: WorkerStatus | None) -> None:
        """Chunks that failed for good leave `missing`; what may work next time stays."""
        known = {failure.chunk_key: failure for failure in (status.failed if status else ())}
        problem = (status.problem if status else "") or outcome_of(code).summary
        for key in self.missing.intersection(chunk.chunk_key for chunk in shard.chunks):
            failure = known.get(key)
            if failure is None and not outcome_of(code).retry:
                failure = ChunkFailure(key, outcome_of(code).category, problem, transient=False)
            if failure is not None and not failure.transient:
                self.failures[key] = failure
                self.missing.discard(key)

    def _give_up(self, codes: dict[int, int], statuses: dict[int, WorkerStatus]) -> None:
        known = {f.chunk_key: f for status in statuses.values() for f in status.failed}
        ends = ", ".join(sorted({outcome_of(code).summary for code in codes.values() if code != 0}))
        for key in self.missing:
            self.failures[key] = known.get(key) or ChunkFailure(key, "worker", f"workers ended: {ends}", transient=True)
        self.missing = set()
        self._end(DispatchState.FAILED, f"given up after {self._counted + self._killed} rounds: {ends}")

    def _record_attempts(self, codes: dict[int, int], statuses: dict[int, WorkerStatus]) -> None:
        for index, code in codes.items():
            status = statuses.get(index)
            category, message = cause_of(code, status)
            attempt = AttemptRecord(
                dispatch_id=self.dispatch_id,
                index=index,
                attempt=self._attempt,
                exit_code=code,
                category=category,
                message=message,
                gpu_seconds=status.gpu_seconds if status else 0.0,
                device=status.device if status else "",
                host=socket.gethostname(),
                started_at=self._began[index],
                ended_at=datetime.now(UTC),
                chunks=self._paid_for(index, status),
                price=self._run.settings.gpu_hour_cost,
                currency=self._run.settings.currency,
            )
            sql.record_attempt(self._run.db, attempt)

    def _paid_for(self, index: int, status: WorkerStatus | None) -> tuple[str, ...]:
        """The chunks that a worker spent its time on: those it edited, else all that it was given."""
        if status is not None and status.edited:
            return status.edited
        return tuple(c.chunk_key for shard in self._shards if shard.index == index for c in shard.chunks)

    def _end(self, state: DispatchState, reason: str) -> None:
        sql.end_dispatch(self._run.db, self.dispatch_id, state, reason)
        self.ended = True
