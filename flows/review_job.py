"""A person's decision on a job that awaits its review, from a form or the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow

from edits.job import EditJob
from flows.edit_manifest import RUNNER, edit, edit_order
from flows.form_errors import FormError, naming_fields
from flows.forms import Allow, DecisionName, Guidance, Seed, Store, Workers, cell, field
from tasks import decide
from tasks.conclude import Summary
from tasks.decide import Opinion
from tasks.retry import changed_manifest, continued
from tasks.review import review_of, write_page
from tasks.run import Run, open_run


@dataclass(frozen=True)
class ReviewOutcome:
    """What came of a decision. Part of the `--json` output: fields are added, never renamed."""

    job_id: str
    decision: str
    delivered: bool
    output: str
    """URI of the deliverable, whether it is there yet or not."""
    summary: Summary | None
    """Of the run that followed: the rest of a previewed job, or the changed one. None when nothing had to run."""

    @property
    def failed(self) -> int:
        return self.summary.failed if self.summary else 0


@flow(name="review-job", task_runner=RUNNER)
def review_job(
    job: Annotated[
        str,
        field(
            title="Job",
            description="Its id, or the beginning of one; the review page shows it.",
            min_length=1,
            examples=["3f9a0c"],
        ),
    ],
    reviewer: Annotated[
        str,
        field(
            title="Your name",
            description="Who decides. It is recorded as you write it: nobody checks it.",
            min_length=1,
            examples=["Ada"],
        ),
    ],
    decision: Annotated[
        DecisionName,
        field(
            title="Decision",
            description="approve: deliver it, or go on after the preview; reject: deliver nothing; change: run it "
            "again with what is filled in below.",
        ),
    ] = "approve",
    reason: Annotated[
        str, field(title="Reason", description="For the record; a rejection needs one.", examples=["too dark"])
    ] = "",
    instruction: Annotated[
        str, field(title="Change: instruction", description="The new instruction; empty: as it was.")
    ] = "",
    seed: Seed = 0,
    guidance: Guidance = 0.0,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
) -> ReviewOutcome:
    """Decide on a job that awaits its review. Nothing is computed twice.

    Raises:
        PermanentError: no such job, a change of nothing.
        StateError: it does not await a review.
        FormError: nobody's decision, a rejection without a reason, a change that cannot run; it names the field.
        SomeJobsFailedError: what ran after the decision failed.
    """
    if not reviewer.strip():
        raise FormError("field 'Your name' (reviewer): a decision is somebody's. Write your name.")
    if decision == "reject" and not reason.strip():
        raise FormError("field 'Reason' (reason): a rejection needs one, for whoever does it again. Write it.")
    changes = {"instruction": instruction, "seed": cell(seed), "guidance": cell(guidance)}
    with (
        naming_fields(review_job),
        open_run([], allow, store=store, workers=workers) as run,
        decide.waiting_job(run, job) as found,
    ):
        opinion = Opinion(reviewer.strip(), reason)
        if decision == "change":
            return _change(run, found, opinion, {name: value for name, value in changes.items() if value})
        return _approve(run, found, opinion) if decision == "approve" else _reject(run, found, opinion)


def _approve(run: Run, job: EditJob, opinion: Opinion) -> ReviewOutcome:
    if decide.approve(run, job, opinion):
        return ReviewOutcome(job.job_id, "approve", True, job.output, None)
    summary = edit_order(run, continued(run, job))
    return ReviewOutcome(job.job_id, "approve", summary.rows[0].state == "delivered", job.output, summary)


def _reject(run: Run, job: EditJob, opinion: Opinion) -> ReviewOutcome:
    decide.reject(run, job, opinion)
    return ReviewOutcome(job.job_id, "reject", False, job.output, None)


def _change(run: Run, job: EditJob, opinion: Opinion, changes: dict[str, str]) -> ReviewOutcome:
    """The changed row first, so that a change that is not possible leaves the job waiting."""
    review = review_of(run.store, job.job_id)
    asked = dataclasses.replace(job, review="required")
    manifest = changed_manifest(run, asked, changes)
    decide.change(run, job, opinion, changes)
    run.preview = "" if review is None or review.kind == "deliverable" else review.kind
    try:
        summary = edit(run, manifest, f"change of {job.job_id}", Path.cwd())
    finally:
        write_page(run, job.job_id)  # with the way to the job that follows
    return ReviewOutcome(summary.rows[0].job_id, "change", False, summary.rows[0].output, summary)
