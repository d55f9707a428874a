"""The board: how far each job of a running flow is, for whoever looks (terminal, log, Prefect artifact).

Stages report here from their threads; listeners get nothing pushed, they take a snapshot when they want one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edits.errors import WrongCell

STAGES: dict[str, float] = {"index": 0.05, "split": 0.1, "queue": 0.0, "edit": 0.6, "stitch": 0.2, "verify": 0.05}
"""Stages of a job in order, with the share of its time that each is taken to need."""


@dataclass(frozen=True)
class JobProgress:
    """Where one row is: `done` of `total` units of `stage` (frames, or chunks when editing)."""

    line: int
    name: str
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    state: str = "planned"
    message: str = ""
    category: str = ""
    wrong: tuple[WrongCell, ...] = ()
    """The cells that are to blame, where it is cells."""
    ended: bool = False
    job_id: str = ""
    """Empty until the row has been resolved against its source."""
    seconds: tuple[tuple[str, float], ...] = ()
    """Wall seconds of the stages that are over, in order."""

    def seconds_by_stage(self) -> dict[str, float]:
        """`seconds`, with a stage that was entered twice added up."""
        whole: dict[str, float] = {}
        for stage, spent in self.seconds:
            whole[stage] = whole.get(stage, 0.0) + spent
        return whole

    @property
    def fraction(self) -> float:
        """Share of the whole job that is done, 0 to 1, by the weights of `STAGES`."""
        if self.ended:
            return 1.0
        before = 0.0
        for stage, weight in STAGES.items():
            if stage == self.stage:
                return before + weight * (self.done / self.total if self.total else 0.0)
            before += weight
        return 0.0


@dataclass(frozen=True)
class Snapshot:
    """All jobs at one moment."""

    jobs: tuple[JobProgress, ...]
    elapsed: float
    """Seconds since the board was made."""
    message: str = ""
    """A word about the whole run; empty when all is well."""

    @property
    def fraction(self) -> float:
        return sum(job.fraction for job in self.jobs) / len(self.jobs) if self.jobs else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Elapsed time scaled by what is left; None before 3 % are done, when it would be a guess."""
        return self.elapsed * (1 - self.fraction) / self.fraction if self.fraction >= 0.03 else None


class Board:
    """Thread-safe table of `JobProgress` by manifest line."""

    def __init__(self) -> None:
        self._jobs: dict[int, JobProgress] = {}
        self._since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._message = ""

    def add(self, line: int, name: str) -> None:
        with self._lock:
            self._jobs.setdefault(line, JobProgress(line, name))

    def resolved(self, line: int, job_id: str) -> None:
        """The row has become a job."""
        self._change(line, job_id=job_id)

    def stage(self, line: int, stage: str, total: int = 0) -> None:
        """The job enters a stage; the time since the last one began goes to that one."""
        self._close_stage(line)
        self._change(line, stage=stage, done=0, total=total, message="")

    def advance(self, line: int, done: int, total: int) -> None:
        self._change(line, done=done, total=total)

    def announce(self, message: str) -> None:
        """A word about the whole run."""
        self._message = message

    def say(self, line: int, message: str) -> None:
        """A word about a job that goes on."""
        self._change(line, message=message)

    def end(self, line: int, state: str, message: str, category: str = "", wrong: tuple[WrongCell, ...] = ()) -> None:
        """Nothing more happens to this row in this run."""
        self._close_stage(line)
        self._change(line, state=state, message=message, category=category, wrong=wrong, ended=True)

    def reporter(self, line: int, stage: str) -> Callable[[int, int], None]:
        """Enters the stage; the result is its progress callback (done, total)."""
        self.stage(line, stage)
        return lambda done, total: self.advance(line, done, total)

    def snapshot(self) -> Snapshot:
        with self._lock:
            jobs = tuple(self._jobs[line] for line in sorted(self._jobs))
        return Snapshot(jobs, time.monotonic() - self._started, self._message)

    def _close_stage(self, line: int) -> None:
        now = time.monotonic()
        with self._lock:
            job = self._jobs[line]
            spent = (job.stage, now - self._since.get(line, now))
            self._since[line] = now
            if job.stage in STAGES and not job.ended:
                self._jobs[line] = replace(job, seconds=(*job.seconds, spent))

    def _change(self, line: int, **fields: object) -> None:
        with self._lock:
            self._jobs[line] = replace(self._jobs[line], **fields)  # type: ignore[arg-type]
