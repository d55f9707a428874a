"""One dispatch in work: its shards packed once, its rounds of workers, and what is known of its chunks.

Whoever takes a dead flow's dispatch over makes a `Wave` of the same shards: they are never packed again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sql
from edits import storage
from edits.errors import ClusterError, PermanentError, RecordError, StoreError
from edits.job import ChunkFailure, Shard, WorkerStatus
from sql import AttemptRecord, DispatchRecord, DispatchState
from tasks.clock import Clock, Every
from tasks.executor import Round, RoundOrder, RoundView, WorkerView
from tasks.exits import Outcome
from tasks.run import Run

log = logging.getLogger(__name__)

MAX_ROUNDS = 3
"""Rounds of a dispatch that may fail before its missing chunks do."""
MAX_KILLED = 10
"""Rounds that may end because workers were killed: not the chunks' fault, but not for ever."""
READS_PER_SECOND = 8
"""Statuses that are read of one wave, at most; each worker rewrites its own at every event."""
PATIENCE, LONGEST_PATIENCE = 0.1, 30.0
"""Pause between two readings: this share of what a chunk takes, and seconds at most: so a chunk costs some ten readings
however long it takes, and its end is known a tenth late."""
RESUME_SECONDS = 5.0
"""Between two attempts to find what a dead flow has left in a cluster that does not answer."""
NODE_FAULTS = frozenset({"crashed", "node", "start", "device"})
"""Causes for which the node may be to blame."""
UNSEEN = Outcome("vanished", True, False, "the worker is gone and nobody saw it end")


def cause_of(outcome: Outcome, status: WorkerStatus | None) -> tuple[str, str]:
    """Category and message of a worker's end: the first thing that failed, if the worker could still say so."""
    if outcome.category == "done" or status is None or not (status.failed or status.problem):
        return outcome.category, outcome.summary
    if not status.failed:
        return outcome.category, status.problem
    first = status.failed[0]
    more = f" (and {len(status.failed) - 1} more)" if len(status.failed) > 1 else ""
    return first.category, f"{first.message}{more}"


class Pace:
    """How long the chunks of a wave take, as seen from outside."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.now()
        self._worked = 0.0
        """Seconds of all its workers together."""
        self._done = 0

    def seconds_a_chunk(self, workers: int, done: int) -> float:
        """So many `workers` live and so many more chunks are `done`: the mean so far, those in work counted as done."""
        now = self._clock.now()
        self._worked += workers * (now - self._since)
        self._since, self._done = now, self._done + done
        return self._worked / max(self._done + workers, 1)


class Wave:
    """One dispatch: its shards, its current round, and what is known of its chunks."""

    def __init__(
        self, run: Run, dispatch: DispatchRecord, shards: Sequence[Shard], clock: Clock, *, places: int, priority: int
    ) -> None:
        """`places` workers at once."""
        self.dispatch_id = dispatch.dispatch_id
        self.missing = {chunk.chunk_key for shard in shards for chunk in shard.chunks}
        self.failures: dict[str, ChunkFailure] = {}
        self.ended = False
        self.trouble = ""
        """Why it does not get on at present."""
        self._run = run
        self._dispatch = dispatch
        self._shards = {shard.index: shard for shard in shards}
        self._clock = clock
        self._order = RoundOrder(dispatch.dispatch_id, dispatch.digest, 0, (), places, priority)
        self._round: Round | None = None
        self._view = RoundView()
        self._statuses: dict[tuple[int, str], WorkerStatus] = {}
        self._read: set[tuple[int, str]] = set()
        """Workers whose last words are read."""
        self._began = datetime.now(UTC)
        self._reads = Every(0.0, clock)
        self._pace = Pace(clock)
        self._retries = Every(RESUME_SECONDS, clock)
        self._starting = ""
        """With which cause a round is to be started, as soon as the store answers."""
        self._resuming = ""
        """With which cause it is to be resumed, as soon as the cluster answers."""
        self._stopping = ""
        """Why its workers are being ended."""
        self._counted = 0
        self._killed = 0
        self._fresh: set[str] = set()

    @property
    def places(self) -> int:
        """Places that this wave occupies."""
        return 0 if self._round is None else self._view.places

    # -- beginning

    def start_round(self, cause: str) -> None:
        """Start a worker for every shard that has chunks missing; `cause` says why there has to be a round.

        A store that does not answer leaves it to the next `poll`.
        """
        self._starting = cause
        try:
            self._start(cause)
        except StoreError as error:
            self.trouble = f"the store is in trouble, no workers are started: {error}"
            return
        self._starting = ""

    def _start(self, cause: str) -> None:
        self._settle_markers(self.missing, edited_now=self._order.number > 0)
        indexes = self._with_missing()
        if not indexes:
            self._end(DispatchState.DONE, "every chunk is marked")
            return
        number = sql.begin_round(self._run.db, self.dispatch_id, self._run.owner, cause)
        self._order = replace(self._order, number=number, indexes=indexes)
        self._attach(self._run.executor.begin(self._order))

    def resume(self, cause: str) -> None:
        """Go on where a dead flow stopped: with the round that it began, if there is anything of it, else anew."""
        self._resuming = cause
        order = replace(self._order, number=self._dispatch.rounds, indexes=tuple(sorted(self._shards)))
        try:
            found = self._run.executor.resume(order) if order.number else None
        except ClusterError as error:
            self.trouble = f"cannot look for the pods of a flow that died: {error}"
            return
        except PermanentError as error:
            self._give_up(str(error), error.category)
            return
        self._resuming = ""
        if found is None:
            self.start_round(cause)
            return
        self._order = order
        self._attach(found)

    def _attach(self, begun: Round) -> None:
        self._round = begun
        self._view = RoundView(places=min(self._order.places, len(self._order.indexes)))
        self._statuses, self._read, self._began = {}, set(), datetime.now(UTC)

    def _with_missing(self) -> tuple[int, ...]:
        return tuple(i for i, s in sorted(self._shards.items()) if any(c.chunk_key in self.missing for c in s.chunks))

    # -- watching

    def poll(self) -> frozenset[str]:
        """Look at the workers and read their statuses; the chunks that are done since the last time.

        When all workers of the round have ended, it is settled, and the next one begins if there has to be one.
        """
        try:
            if self._resuming and self._retries.due():
                self.resume(self._resuming)
            if self._starting and self._retries.due():
                self.start_round(self._starting)
            if not self.ended and self._round is not None:
                self._look(self._round)
        except StoreError as error:
            self.trouble = f"the store is in trouble, workers go on: {error}"
        except PermanentError as error:
            if self._round is not None:
                self._round.stop()
            self._give_up(str(error), error.category)
        fresh, self._fresh = self._fresh, set()
        return frozenset(fresh)

    def _look(self, current: Round) -> None:
        self._view = current.poll()
        self.trouble = self._view.trouble
        self._read_statuses()
        if self._view.over:
            self._settle_round()

    def _read_statuses(self) -> None:
        """Of living workers now and then, of ended ones once; of those that nobody tells of, what the store has."""
        due = self._reads.due()
        view = [(worker.index, worker.name, worker) for worker in self._view.workers]
        alive = {(index, name) for index, name, w in view if w.outcome is None and w.started_at is not None}
        ended = {(index, name) for index, name, w in view if w.outcome is not None}
        if due and self._view.unheard:
            alive |= self._written() - ended
        for index, name in sorted((alive if due else set()) | (ended - self._read)):
            self._take_status(index, name)
        self._read |= ended
        if due:
            patience = min(PATIENCE * self._pace.seconds_a_chunk(len(alive), len(self._fresh)), LONGEST_PATIENCE)
            self._reads = Every(max(len(alive) / READS_PER_SECOND, patience), self._clock)
            self._reads.due()

    def _written(self) -> set[tuple[int, str]]:
        """Workers of the round that have written a status."""
        found = storage.workers_of(self._run.store, self.dispatch_id)
        attempt = self._order.attempt
        return {(index, name) for index, written, name in found if written == attempt and index in self._shards}

    def _take_status(self, index: int, name: str) -> None:
        try:
            status = storage.read_status(self._run.store, self.dispatch_id, index, self._order.attempt, name)
        except RecordError as error:
            log.warning("a worker's status is damaged, so its markers alone count: %s", error)
            return
        if status is not None:
            self._statuses[index, name] = status
            self._run.gpu_hours.spent[self.dispatch_id, index, name, self._order.number] = status.gpu_seconds
            self._settle_markers(self.missing.intersection(status.done), edited_now=True)

    def _settle_markers(self, chunk_keys: Iterable[str], *, edited_now: bool) -> None:
        """Chunks that have a marker are done; those found before the first round were done by somebody else."""
        found = {key: storage.valid_marker(self._run.store, key) for key in list(chunk_keys)}
        markers = {key: marker for key, marker in found.items() if marker is not None}
        if markers:
            sql.record_chunk_done(self._run.db, *markers.values())
            self.missing -= markers.keys()
            self._fresh |= markers.keys()
        if edited_now:
            self._run.edited.update(markers)

    # -- settling

    def _settle_round(self) -> None:
        """All workers have ended: record the attempts, then finish, fail or go round again.

        The last words of a worker that nobody saw end are read once more: it may have said more since.
        """
        for index, name in sorted(self._written() - self._read):
            self._take_status(index, name)
        self._record_attempts()
        self._settle_markers(self.missing, edited_now=True)
        self._round = None  # from here on nothing reads the store: what was read is not asked for twice
        lasts = self._lasts()
        for index, outcome in lasts.items():
            self._settle_failures(index, outcome)
        self._blame_nodes()
        self._go_on(lasts)

    def _lasts(self) -> dict[int, Outcome]:
        """How the last worker of each shard of the round ended that has chunks missing."""
        lasts = dict.fromkeys(self._order.indexes, UNSEEN)
        lasts.update((worker.index, worker.outcome) for worker in self._view.workers if worker.outcome is not None)
        return {index: outcome for index, outcome in lasts.items() if index in self._with_missing()}

    def _go_on(self, lasts: dict[int, Outcome]) -> None:
        lasts = {index: outcome for index, outcome in lasts.items() if index in self._with_missing()}
        ends = "; ".join(sorted({_told(outcome) for outcome in lasts.values()}))
        if not self.missing and not self._stopping:
            state = DispatchState.FAILED if self.failures else DispatchState.DONE
            self._end(
                state,
                f"{len(self.failures)} chunks failed" if self.failures else "every chunk that is wanted is marked",
            )
            return
        if self._stopping:
            self._end(DispatchState.WITHDRAWN, self._stopping)
            return
        counted = any(outcome.counts for outcome in lasts.values())
        self._counted += counted
        self._killed += not counted
        if self._counted >= MAX_ROUNDS or self._killed >= MAX_KILLED:
            self._give_up(f"given up after {self._counted + self._killed} rounds; workers ended: {ends}", "worker")
            return
        categories = {outcome.category for outcome in lasts.values()}
        self._order = replace(
            self._order,
            host_memory_steps=self._order.host_memory_steps + ("host_memory" in categories),
            larger_device=self._order.larger_device or "device_memory" in categories,
        )
        self.start_round(f"{len(self.missing)} chunks are missing: {ends}")

    def _settle_failures(self, index: int, outcome: Outcome) -> None:
        """Chunks that failed for good leave `missing`; what may work next time stays."""
        statuses = [status for (shard, _), status in self._statuses.items() if shard == index]
        known = {failure.chunk_key: failure for status in statuses for failure in status.failed}
        problem = next((status.problem for status in statuses if status.problem), "") or _told(outcome)
        for key in self.missing.intersection(chunk.chunk_key for chunk in self._shards[index].chunks):
            failure = known.get(key)
            if failure is None and not outcome.retry:
                failure = ChunkFailure(key, outcome.category, problem, transient=False)
            if failure is not None and not failure.transient:
                self.failures[key] = failure
                self.missing.discard(key)

    def _give_up(self, why: str, category: str) -> None:
        known = {f.chunk_key: f for status in self._statuses.values() for f in status.failed}
        for key in self.missing:
            self.failures[key] = known.get(key) or ChunkFailure(key, category, why, transient=True)
        self.missing = set()
        self._round = None
        self._end(DispatchState.FAILED, why)

    def _blame_nodes(self) -> None:
        for worker in self._view.workers:
            if worker.outcome is None:
                continue
            status = self._statuses.get((worker.index, worker.name))
            category, _ = cause_of(worker.outcome, status)
            if category in NODE_FAULTS or worker.outcome.category in NODE_FAULTS:
                self._run.executor.blame(worker.host, f"{self.dispatch_id}/{worker.index}")
            elif worker.outcome.category == "done":
                self._run.executor.praise(worker.host)

    # -- the record

    def _record_attempts(self) -> None:
        seen = {(worker.index, worker.name): worker for worker in self._view.workers if worker.outcome is not None}
        for key in seen.keys() | self._statuses.keys():
            sql.record_attempt(self._run.db, self._attempt(*key, seen.get(key), self._statuses.get(key)))

    def _attempt(self, index: int, name: str, worker: WorkerView | None, status: WorkerStatus | None) -> AttemptRecord:
        outcome = worker.outcome if worker is not None and worker.outcome is not None else UNSEEN
        category, message = cause_of(outcome, status)
        updated = datetime.fromtimestamp(status.updated_at, UTC) if status is not None else datetime.now(UTC)
        return AttemptRecord(
            dispatch_id=self.dispatch_id,
            index=index,
            attempt=self._order.attempt,
            worker=name,
            exit_code=worker.exit_code if worker is not None else status.exit_code if status is not None else None,
            category=category,
            message=message,
            gpu_seconds=status.gpu_seconds if status is not None else 0.0,
            device=status.device if status is not None else "",
            host=worker.host if worker is not None else "",
            started_at=(worker.started_at if worker is not None else None) or self._began,
            ended_at=(worker.ended_at if worker is not None else None) or updated,
            chunks=self._paid_for(index, status),
            price=self._run.settings.gpu_hour_cost,
            currency=self._run.settings.currency,
            image=worker.image if worker is not None else "",
        )

    def _paid_for(self, index: int, status: WorkerStatus | None) -> tuple[str, ...]:
        """The chunks that a worker spent its time on: those it edited, else all that it was given."""
        if status is not None and status.edited:
            return status.edited
        return tuple(chunk.chunk_key for chunk in self._shards[index].chunks)

    # -- ending

    def withdraw(self, chunk_keys: Iterable[str]) -> None:
        """Nobody wants these any more: tell the workers, and end them when nothing wanted is left."""
        unwanted = self.missing.intersection(chunk_keys)
        if not unwanted:
            return
        storage.withdraw(self._run.store, self.dispatch_id, unwanted)
        self.missing -= unwanted
        if not self.missing and self._round is not None:
            self._stopping = "nobody wants its chunks any more"
            self._round.stop()

    def stop(self, reason: str) -> None:
        """End the workers; `poll` until it has ended. What they have cost is recorded all the same."""
        self._stopping = self._stopping or reason
        if self.ended:
            return
        if self._round is not None:
            self._round.stop()
        else:
            self._end(DispatchState.WITHDRAWN, reason)

    def leave(self) -> None:
        """The flow goes in the middle: what lives on without it does, and the dispatch waits to be taken over."""
        if self.ended or self._run.executor.outlives_flow:
            return
        self.stop("the flow ended")
        self.poll()

    def _end(self, state: DispatchState, reason: str) -> None:
        sql.end_dispatch(self._run.db, self.dispatch_id, state, reason)
        self.ended = True


def _told(outcome: Outcome) -> str:
    return f"{outcome.summary} ({outcome.remedy})" if outcome.remedy else outcome.summary
