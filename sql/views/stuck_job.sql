-- Jobs that have not ended: since when nothing happened, and whether a flow still works on them.
SELECT
    job.job_id AS job_id,
    job.state AS state,
    job.project AS project,
    job.editor AS editor,
    job.manifest_id AS manifest_id,
    job.line AS line,
    job.updated_at AS updated_at,
    SECONDS_BETWEEN(job.updated_at, CURRENT_MOMENT) AS idle_seconds,
    SECONDS_BETWEEN(owner.seen_at, CURRENT_MOMENT) AS silent_seconds,
    SECONDS_BETWEEN(job.cancel_requested_at, CURRENT_MOMENT) AS cancel_seconds
FROM edit_job AS job
LEFT JOIN owner ON owner.owner_id = job.owner_id
WHERE job.state IN ('planned', 'splitting', 'queued', 'editing', 'stitching', 'checking', 'awaiting_review')
