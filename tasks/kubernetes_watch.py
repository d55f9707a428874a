"""What is known of the cluster's Jobs and pods of ours, kept up by two watches in threads.

A watch that the server ends goes on where it ended; one that breaks or is told 410 lists again. One watch a kind
for the whole namespace: requests grow with what happens to pods, not with Jobs and not with time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from edits.errors import SamaflowError
from tasks.kubernetes_api import Change, Cluster, ExpiredError, Json, Listing
from tasks.kubernetes_job import SELECTOR, JobView, job_view_of
from tasks.kubernetes_pods import Pod, pod_of

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""Seconds between attempts at a server that does not answer."""

Kept = TypeVar("Kept", Pod, JobView)


@dataclass(frozen=True)
class Source(Generic[Kept]):
    """How one kind of object is listed, watched and read."""

    name: str
    list_all: Callable[[], Listing]
    watch: Callable[[str], Iterator[Change]]
    read: Callable[[Json], Kept]
    job: Callable[[Kept], str]
    """Name of the Job that one belongs to, or is."""


class Watched(Generic[Kept]):
    """The objects of one kind, as last seen. Thread-safe."""

    def __init__(self, source: Source[Kept]) -> None:
        self._source: Source[Kept] = source
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Kept]] = {}
        """By name of the Job, then by uid; also those that are gone, until they are forgotten."""
        self._gone: set[str] = set()
        self._forgotten: set[str] = set()
        """Names of Jobs: the server goes on to speak of them, until an hour later it removes them."""
        self._closing = threading.Event()
        self._in_touch = time.monotonic()
        self._problem = ""
        self._thread = threading.Thread(target=self._follow, name=f"watch-{source.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let the thread end; it may take until its server speaks again."""
        self._closing.set()

    def jobs(self) -> set[str]:
        """Names of the Jobs of which anything is known."""
        with self._lock:
            return set(self._known)

    def of(self, job: str) -> list[tuple[Kept, bool]]:
        """Every object of the Job of that name, with whether it is gone."""
        with self._lock:
            return [(item, uid in self._gone) for uid, item in self._known.get(job, {}).items()]

    def note(self, item: Kept) -> None:
        """Something that was learned by other means; a newer view of it comes by the watch."""
        with self._lock:
            self._known.setdefault(self._source.job(item), {}).setdefault(item.uid, item)

    def forget(self, job: str) -> None:
        """Drop what belongs to a Job, for good: nobody asks for it again."""
        with self._lock:
            self._gone.difference_update(self._known.pop(job, {}))
            self._forgotten.add(job)

    def silence(self) -> tuple[float, str]:
        """Seconds since the server was last heard, and why; (0, '') while a watch is open."""
        with self._lock:
            return (time.monotonic() - self._in_touch, self._problem) if self._problem else (0.0, "")

    # -- the thread

    def _follow(self) -> None:
        version, pause = "", FIRST_PAUSE
        while not self._closing.is_set():
            try:
                if not version:
                    version = self._list()
                    self._heard()
                    pause = FIRST_PAUSE
                for change in self._source.watch(version):
                    version = change.version
                    self._take(change)
                    if self._closing.is_set():
                        return
            except ExpiredError:
                version = ""
            except SamaflowError as error:
                version = ""
                self._missed(str(error))
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _list(self) -> str:
        listing: Listing = self._source.list_all()
        items = [self._source.read(body) for body in listing.items]
        with self._lock:
            self._gone = {uid for known in self._known.values() for uid in known}
            for item in items:
                self._keep(item)
        return listing.version

    def _take(self, change: Change) -> None:
        if change.kind == "BOOKMARK":
            return
        item = self._source.read(change.body)
        with self._lock:
            self._keep(item, gone=change.kind == "DELETED")

    def _keep(self, item: Kept, gone: bool = False) -> None:
        """What was seen last of something; under the lock."""
        job = self._source.job(item)
        if job in self._forgotten:
            return
        self._known.setdefault(job, {})[item.uid] = item
        self._gone.discard(item.uid)  # a list that is older than its creation may have missed it
        if gone:
            self._gone.add(item.uid)

    def _heard(self) -> None:
        with self._lock:
            self._in_touch, self._problem = time.monotonic(), ""

    def _missed(self, problem: str) -> None:
        with self._lock:
            if not self._problem:
                self._in_touch = time.monotonic()
            self._problem = problem
        log.warning("watching %s: %s", self._source.name, problem)


class Mirror:
    """Our Jobs and pods in one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        impatient = cluster.with_pauses(())
        self.jobs: Watched[JobView] = Watched(
            Source(
                "jobs",
                lambda: impatient.jobs(SELECTOR),
                lambda version: impatient.watch_jobs(SELECTOR, version),
                job_view_of,
                lambda job: job.name,
            )
        )
        self.pods: Watched[Pod] = Watched(
            Source(
                "pods",
                lambda: impatient.pods(SELECTOR),
                lambda version: impatient.watch_pods(SELECTOR, version),
                pod_of,
                lambda pod: pod.job,
            )
        )
        self.jobs.start()
        self.pods.start()

    def close(self) -> None:
        self.jobs.close()
        self.pods.close()

    def job(self, name: str, uid: str) -> JobView | None:
        """The Job of this name, if it is the one with this uid; None when it is gone or was never seen."""
        return next((job for job, gone in self.jobs.of(name) if job.uid == uid and not gone), None)

    def pods_of(self, job_name: str) -> list[tuple[Pod, bool]]:
        """Its pods with whether each is gone, in order of index, then of age."""
        return sorted(self.pods.of(job_name), key=lambda item: (item[0].index, item[0].created_at, item[0].name))

    def forget(self, job_name: str) -> None:
        """Nobody asks for this Job again."""
        self.jobs.forget(job_name)
        self.pods.forget(job_name)

    def silence(self) -> tuple[float, str]:
        """Seconds since the server was last heard, and why."""
        return max(self.jobs.silence(), self.pods.silence())
