"""A tiny library in a database: one manifest, one source, jobs with plans of a few chunks, and their markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sql
from edits.job import Chunk, EditJob, Marker, VideoPlan

SOURCE = "5" * 64
MANIFEST = "a" * 16


def library(url: str) -> sql.Database:
    """The database at `url` with the manifest and the source recorded."""
    db = sql.open_database(url)
    sql.record_manifest(db, MANIFEST, "manifest.csv", "c" * 64, 3)
    sql.record_source(db, SOURCE, "file:///in/a.mp4", 1000, 36, '{"rate": "25/1"}')
    return db


def edit_job(job_id: str = "0" * 16, line: int = 2) -> EditJob:
    return EditJob(
        job_id=job_id,
        manifest_id=MANIFEST,
        line=line,
        source="file:///in/a.mp4",
        source_sha256=SOURCE,
        start=0,
        end=36,
        instruction="make it sepia",
        editor="grade",
        weights="builtin",
        weights_digest="",
        preset="",
        seed=7,
        sampling=None,
        deliverable="h264",
        detail="full",
        output=f"file:///out/{job_id}.mp4",
        project="",
        priority=0,
        notes="",
    )


def plan(job: EditJob, names: Sequence[str] = "abc") -> VideoPlan:
    """A plan with one chunk of twelve frames for each of `names` (letters, or words of one length)."""
    chunks = tuple(_chunk(index, name) for index, name in enumerate(names))
    shots = ((0, 12 * len(names)),)
    return VideoPlan(job, 160, 96, "squeeze", shots, chunks, editor_version="1", numerics="uint8")


def key(name: str) -> str:
    """The chunk key of one name of a plan."""
    return (name * 32)[:32]


def _chunk(index: int, name: str) -> Chunk:
    lead = 0 if index == 0 else 4
    return Chunk(index, 0, 12 * index, 12 * index + 12, 1, lead, 0, f"{name}input".ljust(32, "0"), key(name))


def marker(name: str, sha256: str = "", device: str = "cpu") -> Marker:
    """What a worker writes beside the chunk with this name."""
    digest = sha256 or (name * 64)[:64]
    return Marker(
        chunk_key=key(name),
        output=f"output-{digest[:16]}.mov",
        sha256=digest,
        size=99,
        frames=13,
        width=160,
        height=96,
        editor="grade",
        editor_version="1",
        weights_digest="",
        seed=7,
        dispatch_id="d1",
        seconds={"edit": 1.5},
        peak_memory_bytes=1,
        device=device,
        versions={"samaflow": "0.1.0"},
    )


def recorded_job(db: sql.Database, job_id: str = "0" * 16, names: Sequence[str] = "abc", line: int = 2) -> EditJob:
    """A job and its plan, recorded."""
    job = edit_job(job_id, line)
    sql.record_job(db, job)
    sql.record_plan(db, plan(job, names))
    return job


def dispatch(dispatch_id: str = "d1") -> sql.DispatchRecord:
    return sql.DispatchRecord(dispatch_id, "grade", "builtin", "")


def gone(owner: sql.Owner) -> sql.Owner:
    """An owner on this host whose process has ended: the pid is ours, the start is not."""
    return replace(owner, owner_id="gone", process_started=owner.process_started - 1000)
