"""A flow without its media: jobs whose chunks are said to be split, dispatched to a cluster as a real run does it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from kubernetes.client import ApiClient, Configuration

import sql
from edits.job import Chunk, EditJob, InputRecord, JobState, VideoPlan
from edits.settings import Settings, load_settings
from edits.storage import Store
from edits.trust import Trust
from sama_model.cards import card
from tasks.clock import Clock
from tasks.dispatch import Dispatcher
from tasks.kubernetes import KubernetesExecutor
from tasks.kubernetes_api import Cluster
from tasks.kubernetes_job import load_template
from tasks.run import Run
from tasks.split import Prepared
from tests.fakes.cluster.server import ApiServer
from tests.fakes.shards import put_chunk

SOURCE = "5" * 64
MANIFEST = "a" * 16


def settings_of(folder: Path, **overrides: object) -> Settings:
    """Settings for a run in `folder`, whose store pods see because they run on this machine."""
    given = {"executor": "kubernetes", "store": str(folder / "store"), "kubernetes_parallelism": 4}
    return load_settings(folder, {}, {**given, **overrides})


def cluster_of(server: ApiServer, namespace: str = "samaflow", pauses: Sequence[float] = (0.01, 0.05)) -> Cluster:
    """The real client, led to the double."""
    configuration = Configuration(host=server.url)
    configuration.retries = False
    return Cluster(ApiClient(configuration), namespace, pauses)


def job_of(number: int, *, priority: int = 0, editor: str = "grade") -> EditJob:
    return EditJob(
        job_id=f"{number:016x}", manifest_id=MANIFEST, line=number + 2, source=f"file:///in/{number}.mp4",
        source_sha256=SOURCE, start=0, end=36, instruction="make it sepia", editor=editor, weights="builtin",
        weights_digest="", preset="", seed=0, sampling=None, deliverable="h264", detail="full",
        output=f"file:///out/{number}.mp4", project="", priority=priority, notes="",
    )  # fmt: skip


def video(number: int, chunks: int, *, shared: Iterable[str] = (), priority: int = 0) -> Prepared:
    """A job of so many chunks, all of them missing; `shared` are keys that it has in common with others."""
    job = job_of(number, priority=priority)
    keys = [*shared, *(_key(f"{number}/{position}") for position in range(chunks - len(tuple(shared))))]
    parts = tuple(
        Chunk(position, 0, 12 * position, 12 * position + 12, 1, 4 if position else 0, 0, _key(f"input {key}"), key)
        for position, key in enumerate(keys)
    )
    plan = VideoPlan(job, 160, 96, "squeeze", ((0, 12 * chunks),), parts, editor_version="1", numerics="uint8")
    inputs = {part.input_key: InputRecord(part.input_key, "0" * 64, 1, 13, 160, 96) for part in parts}
    return Prepared(job, plan, inputs, tuple(keys))


def real_video(store: Store, folder: Path, number: int, chunks: int) -> Prepared:
    """A job whose chunk inputs lie in the store: noise, to be inverted, so that every pixel of the edit is known."""
    job = replace(job_of(number), instruction="invert")
    made = [put_chunk(store, folder, 100 * number + position) for position in range(chunks)]
    parts = tuple(
        Chunk(position, 0, 5 * position, 5 * position + 5, 0, 0, 0, chunk.input_key, chunk.chunk_key)
        for position, chunk in enumerate(made)
    )
    known = card("grade", "builtin")
    shots = ((0, 5 * chunks),)
    plan = VideoPlan(job, 32, 16, "squeeze", shots, parts, editor_version=known.editor_version, numerics="uint8")
    inputs = {c.input_key: InputRecord(c.input_key, c.input_sha256, 1, c.frames, c.width, c.height) for c in made}
    return Prepared(job, plan, inputs, tuple(chunk.chunk_key for chunk in made))


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Split:
    """A split that is done already: what is used of a Prefect future."""

    def __init__(self, prepared: Prepared | None) -> None:
        self._prepared = prepared

    def add_done_callback(self, fn: Any) -> None:
        fn(self)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Prepared | None:
        return self._prepared


class ScriptedFlow:
    """One life of a flow; its owner's process is a real one, so that killing it frees what it holds."""

    def __init__(
        self,
        settings: Settings,
        server: ApiServer,
        clock: Clock,
        make_cluster: Callable[[ApiServer], Cluster] = cluster_of,
    ) -> None:
        self.run = Run(settings, Trust(("/",), ("file",), {}))
        self._process = subprocess.Popen(["sleep", "100000"])
        started = psutil.Process(self._process.pid).create_time()
        mine = self.run.owner
        self.run.owner = sql.Owner(mine.owner_id, mine.host, self._process.pid, started)
        self.cluster = make_cluster(server)
        self.executor = KubernetesExecutor(self.cluster, load_template(settings), clock)
        self.run.__dict__["executor"] = self.executor
        self.clock = clock
        self.dispatcher = Dispatcher(self.run, clock)
        self.split_at: dict[str, float] = {}

    def __enter__(self) -> ScriptedFlow:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.close()
        self._process.kill()
        self._process.wait()
        if "db" in self.run.__dict__:
            self.run.db.close()

    def pods_seen_running(self) -> int:
        """How many its watches, which run in threads of their own, have said to run."""
        pods = self.executor._mirror.pods
        seen = [found for job in pods.jobs() for found in pods.of(job)]
        return sum(pod.started_at is not None and not gone for pod, gone in seen)

    def edit(self, videos: Iterable[Prepared]) -> Iterator[str]:
        """Ids of the jobs in the order in which all their chunks are edited; each is recorded as delivered."""
        for prepared in self.dispatcher.edit(videos, self.split):
            sql.walk_to_delivered(self.run.db, prepared.job.job_id, "scripted")
            sql.release_job(self.run.db, prepared.job.job_id, self.run.owner)
            yield prepared.job.job_id

    def split(self, prepared: Prepared) -> Split:
        """Record the job as `tasks.split` does, unless it was delivered before."""
        job, db = prepared.job, self.run.db
        sql.record_manifest(db, MANIFEST, "manifest.csv", "c" * 64, 1, b"")
        sql.record_source(db, SOURCE, job.source, 1000, 36, "{}")
        sql.record_job(db, job, self.run.owner)
        self.run.board.add(job.line, job.source)
        self.split_at.setdefault(job.job_id, self.clock.now())
        if sql.job(db, job.job_id).state in (JobState.DELIVERED, JobState.CANCELLED):
            return Split(None)
        sql.take_job(db, job.job_id, self.run.owner)
        if sql.job(db, job.job_id).state is not JobState.PLANNED:
            sql.change_state(db, job.job_id, JobState.PLANNED, "taken up again")
        sql.record_plan(db, prepared.plan)
        sql.change_state(db, job.job_id, JobState.SPLITTING, "its turn has come")
        sql.change_state(db, job.job_id, JobState.QUEUED, "split")
        return Split(prepared)
