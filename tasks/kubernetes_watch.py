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


class Watched(Generic[Kept]):
    """The objects of one kind, as last seen. Thread-safe."""

    def __init__(self, source: Source[Kept]) -> None:
        self._source: Source[Kept] = source
        self._lock = threading.Lock()
        self._known: dict[str, Kept] = {}
        """By uid; also those that are gone, until they are forgotten."""
        self._gone: set[str] = set()
        self._closing = threading.Event()
        self._in_touch = time.monotonic()
        self._problem = ""
        self._thread = threading.Thread(target=self._follow, name=f"watch-{source.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let the thread end; it may take until its server speaks again."""
        self._closing.set()

    def all(self) -> list[tuple[Kept, bool]]:
        """Every object with whether it is gone."""
        with self._lock:
            return [(item, uid in self._gone) for uid, item in self._known.items()]

    def note(self, item: Kept) -> None:
        """Something that was learned by other means; a newer view of it comes by the watch."""
        with self._lock:
            self._known.setdefault(item.uid, item)

    def forget(self, wanted: Callable[[Kept], bool]) -> None:
        """Drop what nobody asks for again."""
        with self._lock:
            for uid in [uid for uid, item in self._known.items() if wanted(item)]:
                del self._known[uid]
                self._gone.discard(uid)

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
            present = {item.uid for item in items}
            self._gone |= self._known.keys() - present
            self._known.update((item.uid, item) for item in items)
        return listing.version

    def _take(self, change: Change) -> None:
        if change.kind == "BOOKMARK":
            return
        item = self._source.read(change.body)
        with self._lock:
            self._known[item.uid] = item
            self._gone.discard(item.uid)  # a list that is older than its creation may have missed it
            if change.kind == "DELETED":
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
            Source("jobs", lambda: impatient.jobs(SELECTOR), lambda v: impatient.watch_jobs(SELECTOR, v), job_view_of)
        )
        self.pods: Watched[Pod] = Watched(
            Source("pods", lambda: impatient.pods(SELECTOR), lambda v: impatient.watch_pods(SELECTOR, v), pod_of)
        )
        self.jobs.start()
        self.pods.start()

    def close(self) -> None:
        self.jobs.close()
        self.pods.close()

    def job(self, uid: str) -> JobView | None:
        """The Job with this uid; None when it is gone or was never seen."""
        return next((job for job, gone in self.jobs.all() if job.uid == uid and not gone), None)

    def pods_of(self, job_name: str) -> list[tuple[Pod, bool]]:
        """Its pods with whether each is gone, in order of index, then of age."""
        found = [(pod, gone) for pod, gone in self.pods.all() if pod.job == job_name]
        return sorted(found, key=lambda item: (item[0].index, item[0].created_at, item[0].name))

    def forget(self, job_name: str) -> None:
        """Nobody asks for this Job again."""
        self.jobs.forget(lambda job: job.name == job_name)
        self.pods.forget(lambda pod: pod.job == job_name)

    def silence(self) -> tuple[float, str]:
        """Seconds since the server was last heard, and why."""
        return max(self.jobs.silence(), self.pods.silence())
