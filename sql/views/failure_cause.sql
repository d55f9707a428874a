-- Each failed job and each worker that did not end well, with its cause. Being asked to stop is no failure.
SELECT
    'job' AS subject,
    job.job_id AS subject_id,
    job.failure_category AS category,
    job.editor AS editor,
    job.project AS project,
    job.failure_message AS message,
    job.updated_at AS failed_at,
    '' AS host
FROM edit_job AS job
WHERE job.state IN ('failed', 'failed_qc')
UNION ALL
SELECT
    'worker' AS subject,
    attempt.dispatch_id AS subject_id,
    attempt.category AS category,
    dispatch.editor AS editor,
    '' AS project,
    attempt.message AS message,
    attempt.ended_at AS failed_at,
    attempt.host AS host
FROM attempt
JOIN dispatch ON dispatch.dispatch_id = attempt.dispatch_id
WHERE attempt.exit_code IS NULL OR attempt.exit_code NOT IN (0, 143, -15)
