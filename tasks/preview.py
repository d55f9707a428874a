"""A look before the work: only the beginning of each shot, or all of it in a few steps; then the job awaits its review.

What a preview of beginnings edits are chunks of the job itself: they are used again. A preview in few steps has chunks
of its own, and shares the inputs.
"""

from __future__ import annotations

from dataclasses import replace

from edits import storage, wire
from edits.errors import PermanentError
from edits.job import VideoPlan
from edits.media.records import FrameIndex
from edits.plan import plan_video
from tasks.run import Run

FEW_STEPS = 8
"""Denoising steps of a rough preview."""


def preview_plan(run: Run, plan: VideoPlan, index: FrameIndex) -> VideoPlan:
    """The part or the rough version of `plan` that the run's kind of preview edits; kept in the store for its page.

    Raises:
        PermanentError: few steps of an editor that takes none, or the beginnings of shots that are edited as one.
    """
    made = _first_chunks(plan) if run.preview == "first_chunks" else _few_steps(run, plan, index)
    run.store.put_bytes(storage.preview_plan_path(plan.job.job_id), wire.dump(made))
    return made


def _first_chunks(plan: VideoPlan) -> VideoPlan:
    if plan.job.seams.joint:
        raise PermanentError("preview: seams=joint edits a whole shot as one. Preview few_steps instead.")
    firsts = {chunk.shot: chunk for chunk in reversed(plan.chunks)}
    return replace(plan, chunks=tuple(firsts[shot] for shot in sorted(firsts)))


def _few_steps(run: Run, plan: VideoPlan, index: FrameIndex) -> VideoPlan:
    job = plan.job
    if job.sampling is None:
        raise PermanentError(f"preview: editor '{job.editor}' takes no steps. Preview first_chunks instead.")
    rough = replace(job, sampling=replace(job.sampling, steps=min(FEW_STEPS, job.sampling.steps)))
    return plan_video(rough, index, run.catalogue[job.editor].weights[job.weights])
