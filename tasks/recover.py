"""Rebuilding a lost database from the store: plans, markers, inputs, deliveries, dispatches and what workers said.

What the store does not hold (`NOT_IN_STORE`) stays unknown. Rows that are there are left as they are, so that
recovering twice, or over a database that is half there, does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sql
from edits import storage, wire
from edits.errors import RecordError
from edits.job import EditJob, InputRecord, JobState, Shard, VideoPlan, WorkerStatus
from edits.lineage import Delivery
from edits.storage import Store
from edits.trust import local_path
from tasks.attempts import attempt_told_by

RECOVERED = "recovered from the store"
"""The reason of every event that a recovery writes. The view `time_in_state` leaves these words out: they stay."""

NOT_IN_STORE = (
    "the manifests' bytes",
    "who submitted, in which flow run, with which settings, packages and image",
    "reviews",
    "the history of states and failures",
    "prices",
    "versions before the newest of each deliverable",
)
"""What a recovery cannot bring back."""


@dataclass(frozen=True)
class Recovery:
    """What was found in the store. Part of the `--json` output: fields are added, never renamed."""

    jobs: int
    chunks_done: int
    deliverables: int
    dispatches: int
    attempts: int
    unreadable: tuple[str, ...]
    """Objects that are no records of this version, with the reason."""
    not_in_store: tuple[str, ...] = NOT_IN_STORE
    """What is lost with a database, however whole the store is."""


class Recoverer:
    """Goes through one store and writes what it finds into one database."""

    def __init__(self, db: sql.Database, store: Store, endpoint_url: str | None = None) -> None:
        """`endpoint_url` is that of S3 deliverables, which may lie outside of the store."""
        self._db = db
        self._store = store
        self._endpoint_url = endpoint_url
        self._owner = sql.this_process()
        self._unreadable: list[str] = []

    def run(self) -> Recovery:
        """Everything, jobs before what refers to them."""
        plans = list(self._plans())
        known = sql.known_jobs(self._db, [plan.job.job_id for plan in plans])
        for plan in plans:
            if plan.job.job_id not in known:
                self._record_job(plan.job)
            sql.record_plan(self._db, plan)
        done = sum(self._record_chunks(plan) for plan in plans)
        dispatches = list(self._shards())
        attempts = sum(self._record_dispatch(dispatch_id, shards) for dispatch_id, shards in dispatches)
        delivered = sum(self._record_delivery(plan) for plan in plans)
        return Recovery(len(plans), done, delivered, len(dispatches), attempts, tuple(self._unreadable))

    def _plans(self) -> Iterator[VideoPlan]:
        for path in self._store.list("jobs"):
            if path.endswith("/plan.json"):
                plan = self._read(VideoPlan, path)
                if plan is not None:
                    yield plan

    def _read(self, kind: type[storage.T], path: str) -> storage.T | None:
        data = self._store.read_or_none(path)
        if data is None:
            return None
        try:
            return wire.load(kind, data, self._store.uri(path))
        except RecordError as error:
            self._unreadable.append(str(error))
            return None

    # -- jobs and chunks

    def _record_job(self, job: EditJob) -> None:
        sql.record_manifest(self._db, job.manifest_id, RECOVERED, "", 0)
        sql.record_lost_source(self._db, job.source_sha256, job.source, job.end)
        sql.record_job(self._db, job, self._owner, RECOVERED)

    def _record_chunks(self, plan: VideoPlan) -> int:
        done = 0
        for chunk in plan.chunks:
            given = self._read(InputRecord, storage.input_record_path(chunk.input_key))
            if given is not None:
                sql.record_input(self._db, given, plan.job.source_sha256)
            try:
                marker = storage.valid_marker(self._store, chunk.chunk_key)
            except RecordError as error:
                self._unreadable.append(str(error))
                continue
            if marker is not None:
                sql.record_chunk_done(self._db, marker)
                done += 1
        return done

    def _record_delivery(self, plan: VideoPlan) -> bool:
        made = self._read(Delivery, storage.delivery_path(plan.job.job_id))
        if made is None:
            return False
        if not self._is_recorded(made):
            self._record_file(made)
        if self._stands(made) and sql.job(self._db, made.job_id).state is JobState.PLANNED:
            sql.walk_to_delivered(self._db, made.job_id, RECOVERED)
        return True

    def _stands(self, made: Delivery) -> bool:
        """Whether a file of that size is where it was to be: its record was written just before it was published."""
        if made.uri.startswith("file:"):
            path = local_path(made.uri)
            return path.exists() and path.stat().st_size == made.size
        folder, name = made.uri.rsplit("/", 1)
        return Store(folder, endpoint_url=self._endpoint_url).size(name) == made.size

    def _is_recorded(self, made: Delivery) -> bool:
        found = sql.output_of(self._db, made.job_id)
        return found is not None and (found.uri, found.sha256) == (made.uri, made.sha256)

    def _record_file(self, made: Delivery) -> None:
        sql.record_output_digest(
            self._db,
            made.job_id,
            made.uri,
            made.sha256,
            made.size,
            made.streams,
            made.code_version,
            encoding=made.encoding,
            credentials=made.credentials,
            made_at=made.made_at or self._store.modified(storage.delivery_path(made.job_id)),
        )
        sql.record_qc(self._db, made.job_id, made.sha256, made.checks)
        sql.record_known_lineage(self._db, made.job_id, made.chunks)

    # -- dispatches

    def _shards(self) -> Iterator[tuple[str, list[Shard]]]:
        found: dict[str, list[Shard]] = {}
        for path in self._store.list("dispatches"):
            if re.fullmatch(r"dispatches/[^/]+/\d+\.json", path):
                shard = self._read(Shard, path)
                if shard is not None:
                    found.setdefault(shard.dispatch_id, []).append(shard)
        yield from found.items()

    def _record_dispatch(self, dispatch_id: str, shards: list[Shard]) -> int:
        first = shards[0]
        lost = sql.DispatchRecord(dispatch_id, first.editor, first.weights, first.weights_digest, len(shards))
        statuses = list(self._statuses(dispatch_id))
        rounds = max((status.attempt + 1 for status in statuses), default=0)
        chunk_keys = [chunk.chunk_key for shard in shards for chunk in shard.chunks]
        sql.record_lost_dispatch(self._db, lost, chunk_keys, rounds, self._owner, f"{RECOVERED}: its flow is gone")
        if sql.dispatch(self._db, dispatch_id).state not in sql.ENDED:
            return 0  # recorded, and for the flow that works on it or takes it over to end
        known = sql.recorded_attempts(self._db, dispatch_id)
        for status in statuses:
            if (status.index, status.attempt, status.worker) not in known:
                sql.record_attempt(self._db, attempt_told_by(status))
        return len(statuses)

    def _statuses(self, dispatch_id: str) -> Iterator[WorkerStatus]:
        for path in self._store.list(f"dispatches/{dispatch_id}"):
            if path.endswith(".status.json"):
                status = self._read(WorkerStatus, path)
                if status is not None:
                    yield status
