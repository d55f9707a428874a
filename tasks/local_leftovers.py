"""What runs that died on this machine have left in its folders: scratch, and files that were half published.

Only where the flow side is one machine: elsewhere a process number says nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

import sql
from edits.job import TERMINAL, EditJob, JobState
from edits.settings import Settings
from tasks.leftovers import Leftover
from tasks.publish import part_of

UNFINISHED = frozenset(JobState) - TERMINAL
REMEDY = "samaflow doctor --fix"


def local_leftovers(settings: Settings, db: sql.Database, *, mend: bool) -> list[Leftover]:
    """Everything of that kind; with `mend` it is removed."""
    return [*_scratch(settings, mend), *_parts(db, mend)]


def dead_scratch(settings: Settings) -> list[Path]:
    """Scratch folders, which are named after the process that made them, of processes that have ended."""
    return [path for path in (settings.state_folder / "scratch").glob("*-*") if not _alive(path)]


def _alive(path: Path) -> bool:
    pid = path.name.partition("-")[0]
    return pid.isdigit() and psutil.pid_exists(int(pid))


def gone_jobs(db: sql.Database) -> list[EditJob]:
    """Jobs that have not ended and whose flow is dead."""
    return [status.record.job for status in sql.job_table(db, states=UNFINISHED) if status.flow_gone]


def half_published(job: EditJob) -> Path | None:
    """What the job's flow has left beside its output, if it died while it published."""
    if not job.output.startswith("file:"):
        return None
    part = part_of(job)
    return part if part.exists() else None


def _scratch(settings: Settings, mend: bool) -> Iterator[Leftover]:
    for path in dead_scratch(settings):
        if mend:
            shutil.rmtree(path, ignore_errors=True)
        yield Leftover("scratch", str(path), "of a run that died", REMEDY, mend)


def _parts(db: sql.Database, mend: bool) -> Iterator[Leftover]:
    for job in gone_jobs(db):
        part = half_published(job)
        if part is None:
            continue
        if mend:
            part.unlink(missing_ok=True)
        yield Leftover("part", str(part), f"half a deliverable of job {job.job_id}, whose flow died", REMEDY, mend)
