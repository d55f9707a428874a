-- Every job on a source, and each deliverable that it made: one line a deliverable, or one a job without any.
SELECT
    job.source_sha256 AS source_sha256,
    job.job_id AS job_id,
    job.state AS state,
    job.project AS project,
    job.editor AS editor,
    job.weights AS weights,
    job.manifest_id AS manifest_id,
    job.line AS line,
    made.sha256 AS sha256,
    COALESCE(made.uri, job.output) AS uri,
    made.recorded_at AS recorded_at
FROM edit_job AS job
LEFT JOIN artifact AS made ON made.job_id = job.job_id AND made.kind = 'deliverable'
