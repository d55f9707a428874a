"""The end of a preview: its chunks on a review page, and the job awaits its review."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

import sql
from edits.job import JobState
from tasks import record, review
from tasks.deliver import markers_of, stitch_chunk
from tasks.intake import index_of
from tasks.run import Run
from tasks.split import Prepared


def show_preview(run: Run, prepared: Prepared) -> None:
    """Make the preview's page of its edited chunks; the job awaits its review from then on.

    Raises:
        StateError: a chunk has no marker.
        SamaflowError: the page could not be made.
    """
    job, plan = prepared.job, prepared.plan
    with record.outcome(run, job.manifest_id, job.line) as outcome, run.scratch(f"preview-{job.job_id}") as folder:
        outcome.job = job
        sql.change_state(run.db, job.job_id, JobState.STITCHING, f"{len(plan.chunks)} chunks of the preview are edited")
        markers = markers_of(run, plan)
        sql.record_chunk_done(run.db, *markers.values())
        chunks = [stitch_chunk(run, chunk, markers[chunk.chunk_key], folder) for chunk in plan.chunks]
        review.of_preview(run, plan, index_of(run, job.source, job.line, rate=job.rate), chunks, folder, run.preview)
        sql.change_state(run.db, job.job_id, JobState.CHECKING, "the preview is made")
        record.end_job(
            run, job, JobState.AWAITING_REVIEW, f"the preview awaits its review: samaflow approve {job.job_id}"
        )
        review.write_page(run, job.job_id)


@task(name="show-preview", cache_policy=NO_CACHE)
def preview_video(run: Run, prepared: Prepared) -> None:
    """`show_preview` as a task run."""
    show_preview(run, prepared)
