"""What the open jobs of a run wait for, chunk by chunk: who needs which, and which nobody has taken on yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from edits.job import Chunk, EditJob
from tasks.groups import windows_of
from tasks.split import Prepared


@dataclass
class OpenJob:
    """A job with chunks to wait for."""

    prepared: Prepared
    waiting: set[str]
    """Chunk keys without a marker so far."""
    begun: bool = False
    """A dispatch has chunks of it in work."""

    @property
    def job(self) -> EditJob:
        return self.prepared.job


@dataclass(frozen=True)
class Wanted:
    """A chunk that has to be edited, for the first of the jobs that need it."""

    chunk: Chunk
    prepared: Prepared

    @property
    def key(self) -> str:
        return self.chunk.chunk_key

    @cached_property
    def order(self) -> tuple[int, int, int]:
        """By priority, then by row; one video's chunks together."""
        return (-self.prepared.job.priority, self.prepared.job.line, self.chunk.index)

    @property
    def group(self) -> str:
        """Key of the first chunk of those that are edited as one with this one."""
        return windows_of(self.prepared.plan, self.chunk)[0].chunk_key

    @property
    def kind(self) -> tuple[str, str]:
        """What can share a worker: one editor with one set of weights."""
        return (self.prepared.job.editor, self.prepared.job.weights)


class Demand:
    """All open jobs. Every change costs what changes, not what is there."""

    def __init__(self) -> None:
        self.jobs: dict[str, OpenJob] = {}
        self._needed_by: dict[str, set[str]] = {}
        """Chunk key to the ids of the jobs that wait for it."""
        self._loose: dict[str, Wanted] = {}
        """Chunks that no dispatch has taken on."""
        self._new: list[str] = []
        """Chunks that came since `take_new` was last asked."""
        self._ready: list[str] = []

    def __len__(self) -> int:
        """Chunks that are waited for."""
        return len(self._needed_by)

    def add(self, prepared: Prepared) -> None:
        """A job whose chunk inputs are in the store."""
        job = OpenJob(prepared, set(prepared.missing))
        self.jobs[prepared.job.job_id] = job
        for chunk in prepared.plan.chunks:
            if chunk.chunk_key in job.waiting:
                known = self._needed_by.setdefault(chunk.chunk_key, set())
                if not known:
                    self._loose[chunk.chunk_key] = Wanted(chunk, prepared)
                    self._new.append(chunk.chunk_key)
                known.add(prepared.job.job_id)
        if not job.waiting:
            self._ready.append(prepared.job.job_id)

    def loose(self, paused: Collection[str] = ()) -> dict[tuple[str, str], list[Wanted]]:
        """What could be dispatched, by editor and weights, in order of dispatching; not for the sake of `paused`."""
        lists: dict[tuple[str, str], list[Wanted]] = {}
        for wanted in sorted(self._loose.values(), key=lambda wanted: wanted.order):
            if not paused or self._needed_by[wanted.key].difference(paused):
                lists.setdefault(wanted.kind, []).append(wanted)
        return lists

    def has_loose(self) -> bool:
        return bool(self._loose)

    def take_new(self) -> set[str]:
        """The chunks that came since this was last asked and that no dispatch has taken on."""
        new, self._new = self._new, []
        return {key for key in new if key in self._loose}

    def take_on(self, chunk_keys: Iterable[str]) -> None:
        """A dispatch has these in work."""
        for key in chunk_keys:
            self._loose.pop(key, None)

    def let_go(self, chunk_keys: Iterable[str]) -> None:
        """A dispatch has ended without them: they can be dispatched again."""
        for key in chunk_keys:
            for job_id in self._needed_by.get(key, ()):
                prepared = self.jobs[job_id].prepared
                chunk = next(chunk for chunk in prepared.plan.chunks if chunk.chunk_key == key)
                self._loose.setdefault(key, Wanted(chunk, prepared))

    def done(self, chunk_keys: Iterable[str]) -> None:
        """These have a marker."""
        for key in chunk_keys:
            self._loose.pop(key, None)
            for job_id in self._needed_by.pop(key, ()):
                job = self.jobs[job_id]
                job.waiting.discard(key)
                if not job.waiting:
                    self._ready.append(job_id)

    def take_ready(self) -> list[OpenJob]:
        """Jobs that wait for nothing any more; they are open no longer."""
        ready = [self.jobs.pop(job_id) for job_id in self._ready]
        self._ready = []
        return ready

    def drop(self, job_id: str) -> set[str]:
        """The job is over; the chunks that nobody else waits for."""
        job = self.jobs.pop(job_id)
        unwanted = set()
        for key in job.waiting:
            others = self._needed_by[key]
            others.discard(job_id)
            if not others:
                del self._needed_by[key]
                self._loose.pop(key, None)
                unwanted.add(key)
        return unwanted

    def needing(self, chunk_keys: Iterable[str]) -> list[OpenJob]:
        """The open jobs that wait for any of these, in the order of their rows."""
        found = {job_id for key in chunk_keys for job_id in self._needed_by.get(key, ())}
        return sorted((self.jobs[job_id] for job_id in found), key=lambda job: job.job.line)
