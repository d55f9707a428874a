-- Every job that was ever planned for a model version, and each deliverable that it made: what a recall concerns.
SELECT
    model.model_version_id AS model_version_id,
    model.editor AS editor,
    model.editor_version AS editor_version,
    model.weights AS weights,
    model.digest AS digest,
    job.job_id AS job_id,
    job.state AS state,
    job.project AS project,
    job.source_sha256 AS source_sha256,
    made.sha256 AS sha256,
    COALESCE(made.uri, job.output) AS uri,
    made.recorded_at AS recorded_at
FROM model_version AS model
JOIN job_model ON job_model.model_version_id = model.model_version_id
JOIN edit_job AS job ON job.job_id = job_model.job_id
LEFT JOIN artifact AS made ON made.job_id = job.job_id AND made.kind = 'deliverable'
