"""A recorded job, as a manifest with one row that asks for it again."""

from __future__ import annotations

from collections.abc import Sequence

import sql
from edits import storage, wire
from edits.errors import PermanentError
from edits.job import EditJob, VideoPlan
from edits.manifest import one_row_manifest
from tasks.run import Run


def again(run: Run, job_id: str, chunks: Sequence[int], seed: int | None) -> bytes:
    """The bytes of that manifest. `chunks` (numbers in the plan) are made anew, and the deliverable with them.

    Raises:
        PermanentError: no such job or chunk, or a seed for an editor that takes none.
    """
    job = sql.job(run.db, job_id).job
    if seed is not None and job.sampling is None:
        raise PermanentError(f"job {job.job_id}: editor '{job.editor}' takes no seed; leave --seed out")
    if chunks and seed is not None:
        raise PermanentError("--chunks belongs to the job as it is, --seed makes it another job: give one of them")
    if chunks:
        run.renew[job.job_id] = _chosen(run, job, chunks)
    return one_row_manifest(row_of(job, seed))


def row_of(job: EditJob, seed: int | None = None) -> dict[str, str]:
    """The cells that make this job again, with another seed if one is given."""
    row = {
        "source": job.source,
        "instruction": job.instruction,
        "editor": job.editor,
        "weights": job.weights,
        "start": f"f{job.start + job.handles}",
        "end": f"f{job.end - job.handles}",
        "deliverable": job.deliverable,
        "detail": job.detail,
        "output": job.output,
        "project": job.project,
        "priority": str(job.priority),
        "notes": job.notes,
        "scope": job.scope,
        "handles": str(job.handles),
        "fit": job.fit,
        "interlaced": job.interlaced,
        "alpha": job.alpha,
        "audio": "all" if job.audio is None else " ".join(map(str, job.audio)) or "none",
        "cuts": " ".join(f"f{cut}" for cut in job.cuts or ()),
    }
    if job.sampling is not None:
        row |= {
            "preset": job.preset,
            "seed": str(job.seed if seed is None else seed),
            "steps": str(job.sampling.steps),
            "guidance": repr(job.sampling.guidance),
        }
    return row


def _chosen(run: Run, job: EditJob, chunks: Sequence[int]) -> frozenset[int]:
    path = storage.plan_path(job.job_id)
    plan = wire.load(VideoPlan, run.store.read(path), path)
    unknown = [number for number in chunks if not 0 <= number < len(plan.chunks)]
    if unknown:
        last = len(plan.chunks) - 1
        raise PermanentError(f"job {job.job_id} has no chunk {unknown[0]}: they are numbered 0 to {last}")
    return frozenset(chunks)
