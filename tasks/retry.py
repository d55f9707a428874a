"""A recorded job, as a manifest with one row that asks for it again, or for it with something changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sql
from edits import storage, wire
from edits.errors import BadRowError, CellError, PermanentError
from edits.job import EditJob, ShotEdit, VideoPlan
from edits.manifest import ManifestRow, manifest_of, one_row_manifest, read_manifest, validate_rows
from edits.media.deliverables import DELIVERABLES
from edits.output import next_version
from edits.seams import written_seams
from edits.shots import asked_of, with_shot, written_shots
from tasks.intake import Order
from tasks.publish import is_there
from tasks.report import file_name
from tasks.run import Run

MAX_VARIANTS = 32
"""Of one call: more are more than anybody compares."""


@dataclass(frozen=True)
class Change:
    """What a retry asks for. Nothing: the job as it is."""

    chunks: tuple[int, ...] = ()
    """Numbers in the plan, made anew."""
    shot: int | None = None
    """From 1. The seed and the instruction are for this shot alone, and all others are kept."""
    seed: int | None = None
    instruction: str = ""
    variants: int = 1
    """Jobs to make, with this seed and those after it."""

    @property
    def makes_another_job(self) -> bool:
        return self.seed is not None or bool(self.instruction) or self.variants > 1


def again(run: Run, job_id: str, change: Change) -> bytes:
    """The bytes of that manifest.

    With another seed or instruction it is another job: its deliverable is the next version beside the first. Several
    variants are as many rows.

    Raises:
        PermanentError: no such job, chunk or shot, or a change that means nothing.
    """
    job = sql.job(run.database, job_id).job
    _check(job, change, run.overwrite)
    if change.chunks:
        run.renew[job.job_id] = _chosen(run, job, change.chunks)
    if not change.makes_another_job:
        return one_row_manifest(row_of(job))
    taken: set[str] = set()
    rows = []
    for other in _variants(run, job, change):
        output = next_version(job.output, lambda uri: uri in taken or is_there(run, uri))
        taken.add(output)
        rows.append(row_of(replace(other, output=job.output if run.overwrite else output)))
    return manifest_of(rows)


def _variants(run: Run, job: EditJob, change: Change) -> list[EditJob]:
    """The jobs that the change asks for, by seed."""
    if change.variants == 1:
        return [_changed(run, job, change)]
    first = _next_seed(job, change) if change.seed is None else change.seed
    return [_changed(run, job, replace(change, seed=first + number)) for number in range(change.variants)]


def _next_seed(job: EditJob, change: Change) -> int:
    """The seed after the one that the job, or its shot, was edited with."""
    return 1 + (job.seed if change.shot is None else asked_of(job, change.shot - 1)[1])


def _check(job: EditJob, change: Change, overwrites: bool) -> None:
    where = f"job {job.job_id}"
    if change.variants > 1 and job.sampling is None:
        raise PermanentError(f"{where}: editor '{job.editor}' draws no samples: all variants would be the same")
    if change.seed is not None and job.sampling is None:
        raise PermanentError(f"{where}: editor '{job.editor}' takes no seed; leave --seed out")
    if change.chunks and change.makes_another_job:
        raise PermanentError("--chunks belongs to the job as it is; --seed and --instruction make it another: give one")
    if change.shot is not None and not change.makes_another_job:
        raise PermanentError(f"{where}: say what is to be other for shot {change.shot}: --seed, --instruction or both")
    if change.variants > 1 and overwrites:
        raise PermanentError("--variants writes several files: leave --overwrite out")


def _changed(run: Run, job: EditJob, change: Change) -> EditJob:
    if change.shot is None:
        seed = job.seed if change.seed is None else change.seed
        return replace(job, seed=seed, instruction=change.instruction or job.instruction)
    count = len(_plan_of(run, job).shots)
    if not 1 <= change.shot <= count:
        raise PermanentError(f"job {job.job_id} has no shot {change.shot}: they are numbered 1 to {count}")
    shot = ShotEdit(change.shot - 1, change.seed, change.instruction)
    return replace(job, shots=with_shot(job.shots, shot))


def row_of(job: EditJob) -> dict[str, str]:
    """The cells that make this job again."""
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
        "shots": _shots(job),
        "mask": job.mask,
        "lut": job.lut,
        "seams": written_seams(job.seams),
        "project": job.project,
        "priority": str(job.priority),
        "notes": job.notes,
        "scope": job.scope,
        "handles": str(job.handles),
        "rate": "" if job.rate is None else str(job.rate),
        "fit": job.fit,
        "interlaced": job.interlaced,
        "alpha": job.alpha,
        "audio": "all" if job.audio is None else " ".join(map(str, job.audio)) or "none",
        "cuts": " ".join(f"f{cut}" for cut in job.cuts or ()),
        "review": job.review,
    }
    if job.sampling is not None:
        row |= {
            "preset": job.preset,
            "seed": str(job.seed),
            "steps": str(job.sampling.steps),
            "guidance": repr(job.sampling.guidance),
        }
    return row


def _shots(job: EditJob) -> str:
    try:
        return written_shots(job.shots)
    except CellError as error:
        raise PermanentError(f"--instruction: {error.problem} {error.remedy}") from error


def changed_manifest(run: Run, job: EditJob, changes: Mapping[str, str]) -> bytes:
    """The job's row with other cells, as a manifest that is known to be good.

    Raises:
        BadRowError: the changed row cannot run; each message names the column.
    """
    data = one_row_manifest(row_of(job) | dict(changes))
    _valid_row(run, data)
    return data


def continued(run: Run, job: EditJob) -> Order:
    """The job as an order of its own, on its line of its manifest: to go on where a review stopped it.

    Raises:
        BadRowError: the row cannot run any more (its folder is no longer allowed, say).
    """
    row = replace(_valid_row(run, one_row_manifest(row_of(job))), line=job.line)
    run.board.add(row.line, f"{file_name(row.source)} · {row.editor}")
    return Order(job.manifest_id, f"job {job.job_id}", (row,), (), report_name=job.job_id)


def _valid_row(run: Run, data: bytes) -> ManifestRow:
    manifest = read_manifest(data, "the job's row")
    rows, errors = validate_rows(manifest, run.catalogue, DELIVERABLES, run.settings, run.trust, Path.cwd())
    if errors:
        raise BadRowError(errors)
    return rows[0]


def _chosen(run: Run, job: EditJob, chunks: Sequence[int]) -> frozenset[int]:
    plan = _plan_of(run, job)
    unknown = [number for number in chunks if not 0 <= number < len(plan.chunks)]
    if unknown:
        last = len(plan.chunks) - 1
        raise PermanentError(f"job {job.job_id} has no chunk {unknown[0]}: they are numbered 0 to {last}")
    return frozenset(chunks)


def _plan_of(run: Run, job: EditJob) -> VideoPlan:
    path = storage.plan_path(job.job_id)
    return wire.load(VideoPlan, run.store.read(path), path)
