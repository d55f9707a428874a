"""What runs that died have left in the cluster, the database and the store, and how it is mended.

Used by `samaflow doctor --cluster` and by the scheduled `reconcile`, which mends the same without a cluster. Nothing
that a live flow works on is touched, and nothing of another store's or another database's runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sql
from edits.errors import SamaflowError
from edits.storage import Store, read_status, valid_marker, workers_of
from sql import ENDED, DispatchState, GoneFlow, Unfinished
from tasks.attempts import attempt_told_by
from tasks.kubernetes_api import Cluster
from tasks.kubernetes_job import SELECTOR, JobView, job_view_of

GRACE = timedelta(minutes=10)
"""A Job that the database does not know is left alone for so long: its flow may be about to record it."""
UPLOAD_DAYS = 1.0
"""An upload that was begun so long ago is nobody's any more."""

LATE = timedelta(days=1)
"""For so long after its end a dispatch is looked at for workers that ended after it did."""

FIX = "samaflow doctor --cluster --fix, or the deployment reconcile"

Restart = Callable[[GoneFlow], str]
"""Starts a flow that died again; says what it did, or raises what keeps it from doing so."""


@dataclass(frozen=True)
class Leftover:
    """One thing that is left over."""

    kind: str
    """`job`, `claim`, `flow`, `worker`, `marker`, `upload`, `scratch` or `part`."""
    subject: str
    detail: str
    remedy: str
    mended: bool = False


class Leftovers:
    """Looks at one namespace, one database and one store."""

    def __init__(self, db: sql.Database, store: Store, cluster: Cluster | None, restart: Restart | None = None) -> None:
        """Without a cluster only database and store are looked at; without `restart` no flow is started again."""
        self._db = db
        self._store = store
        self._cluster = cluster
        self._restart = restart

    def find(self, *, mend: bool) -> list[Leftover]:
        """Everything that is left over; with `mend` it is put in order."""
        jobs = self._jobs()
        unfinished = {item.dispatch.dispatch_id: item for item in sql.unfinished_dispatches(self._db)}
        found = [self._job(job, unfinished.get(job.dispatch_id), mend) for job in jobs]
        running = {job.dispatch_id for job in jobs}
        found += [self._dispatch(item, item.dispatch.dispatch_id in running, mend) for item in unfinished.values()]
        return [item for item in found if item is not None] + [
            *self._flows({job for item in unfinished.values() for job in item.jobs}, mend),
            *self._workers(mend),
            *self._markers(mend),
            *self._uploads(mend),
        ]

    # -- the cluster

    def _jobs(self) -> list[JobView]:
        """Jobs of this store that have not finished; finished ones go by their time to live."""
        if self._cluster is None:
            return []
        views = [job_view_of(body) for body in self._cluster.jobs(SELECTOR).items]
        return [job for job in views if job.store == self._store.uri() and not job.finished and not job.deleting]

    def _job(self, job: JobView, unfinished: Unfinished | None, mend: bool) -> Leftover | None:
        """A Job that nobody wants; one whose chunks are wanted is its dispatch's matter."""
        if unfinished is not None and (unfinished.alive or unfinished.jobs):
            return None
        if unfinished is None and not self._has_ended(job.dispatch_id):
            return self._stranger(job)
        if mend:
            assert self._cluster is not None
            self._cluster.delete_job(job.name, job.uid)
        why = "every job that needed it has ended" if unfinished is not None else "no dispatch that is open needs it"
        return Leftover("job", job.name, f"runs for nobody: {why}", f"deleted by {FIX}", mend)

    def _stranger(self, job: JobView) -> Leftover | None:
        """A Job of this store whose dispatch the database does not know: most likely the wrong database is asked."""
        if datetime.now(UTC) - job.created_at < GRACE:
            return None
        remedy = f"set SAMAFLOW_DATABASE to its flow's; if that database is lost: kubectl delete job {job.name}"
        return Leftover("job", job.name, "runs for a dispatch that this database does not know", remedy)

    def _has_ended(self, dispatch_id: str) -> bool:
        try:
            return sql.dispatch(self._db, dispatch_id).state in ENDED
        except SamaflowError:
            return False

    # -- claims and flows

    def _dispatch(self, item: Unfinished, running: bool, mend: bool) -> Leftover | None:
        if item.alive:
            return None
        name = item.dispatch.dispatch_id
        if item.jobs and item.dispatch.state is not DispatchState.CLAIMED:
            return self._flow(item, running, mend)
        if mend:
            why = (
                "nobody wants its chunks any more" if not item.jobs else "its flow died before the shards were written"
            )
            state = DispatchState.WITHDRAWN if not item.jobs else DispatchState.FAILED
            self._end(name, state, why)
        return Leftover("claim", name, "its flow is gone and it holds chunks", FIX, mend)

    def _flow(self, item: Unfinished, running: bool, mend: bool) -> Leftover:
        """Its jobs wait and its flow is gone: only a flow can go on with them, and it adopts what runs."""
        return self._gone(
            item.flow, item.dispatch.dispatch_id, "its pods go on" if running else "nothing of it runs", mend
        )

    def _flows(self, dispatched: set[str], mend: bool) -> Iterator[Leftover]:
        """Flows that died while they split, stitched or published: no dispatch speaks for these jobs."""
        for flow in sql.gone_flows(self._db):
            if dispatched.isdisjoint(flow.jobs):
                yield self._gone(flow, flow.jobs[0], "nothing of it runs", mend)

    def _gone(self, flow: GoneFlow, subject: str, where: str, mend: bool) -> Leftover:
        more = ", ..." if len(flow.jobs) > 1 else ""
        detail = f"the flow of {len(flow.jobs)} jobs ({flow.jobs[0]}{more}) is gone; {where}"
        remedy = "run the manifest again: samaflow edit or submit; it takes over what runs"
        if not mend or self._restart is None or not flow.flow_run_id:
            return Leftover("flow", subject, detail, remedy)
        try:
            return Leftover("flow", subject, detail, self._restart(flow), True)
        except SamaflowError as error:
            return Leftover("flow", subject, f"{detail}; {error}", remedy)

    def _end(self, dispatch_id: str, state: DispatchState, reason: str) -> None:
        """Taken over first, so that a flow that has just come back keeps it."""
        owner = sql.this_process()
        if sql.adopt(self._db, dispatch_id, owner):
            sql.end_dispatch(self._db, dispatch_id, state, reason, owner)

    # -- the store

    def _workers(self, mend: bool) -> Iterator[Leftover]:
        """Workers that ended after their dispatch: the second pod of a shard, say, whose GPU-seconds were paid too."""
        for dispatch_id in sql.ended_dispatches(self._db, datetime.now(UTC) - LATE):
            known = sql.recorded_attempts(self._db, dispatch_id)
            for index, attempt, worker in workers_of(self._store, dispatch_id):
                if (index, attempt, worker) not in known:
                    yield from self._late(dispatch_id, index, attempt, worker, mend)

    def _late(self, dispatch_id: str, index: int, attempt: int, worker: str, mend: bool) -> Iterator[Leftover]:
        status = read_status(self._store, dispatch_id, index, attempt, worker)
        if status is None:
            return
        if mend:
            sql.record_attempt(self._db, attempt_told_by(status))
        subject = f"{dispatch_id}/{index}.{attempt}" + (f".{worker}" if worker else "")
        detail = f"ended after its dispatch: {status.gpu_seconds:.0f} GPU-seconds are not recorded"
        yield Leftover("worker", subject, detail, f"recorded by {FIX}", mend)

    def _markers(self, mend: bool) -> Iterator[Leftover]:
        """Chunks that are edited and that the database does not know to be."""
        marked = [path.split("/")[1] for path in self._store.list("chunks") if path.endswith("/result.json")]
        unknown, behind = sql.not_recorded_as_done(self._db, marked)
        for key in sorted(behind):
            marker = valid_marker(self._store, key)
            if marker is None:
                continue
            if mend:
                sql.record_chunk_done(self._db, marker)
            yield Leftover("marker", key, "edited, and not recorded", f"recorded by {FIX}", mend)
        if unknown:
            detail = f"{len(unknown)} edited chunks are in no recorded plan ({min(unknown)}, ...)"
            yield Leftover(
                "marker", "chunks", detail, "samaflow recover, if the database was lost; else samaflow prune"
            )

    def _uploads(self, mend: bool) -> Iterator[Leftover]:
        """What an upload that was cut off has left, invisible and paid for."""
        for upload in self._store.pending_uploads(timedelta(days=UPLOAD_DAYS)):
            if mend:
                self._store.abort_upload(upload)
            since = f"{upload.begun:%Y-%m-%d %H:%M}"
            yield Leftover("upload", upload.path, f"begun {since} and never finished", FIX, mend)
