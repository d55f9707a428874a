-- Each time that a job failed, each worker that did not end well and each row that never became a job (its subject is the
-- manifest and the line), with the cause, also where a retry went well.
-- Being asked to stop is no failure. `standing` is 1 for the failure in which a job is now.
SELECT
    'job' AS subject,
    failing.job_id AS subject_id,
    failing.category AS category,
    job.editor AS editor,
    job.project AS project,
    failing.reason AS message,
    failing.at AS failed_at,
    '' AS host,
    CASE
        WHEN job.state IN ('failed', 'failed_qc') AND NOT EXISTS (
            SELECT 1
            FROM job_event AS later
            WHERE later.job_id = failing.job_id
                AND later.event_id > failing.event_id
                AND later.after IN ('failed', 'failed_qc')
                AND later.before <> later.after
        ) THEN 1
        ELSE 0
    END AS standing
FROM job_event AS failing
JOIN edit_job AS job ON job.job_id = failing.job_id
WHERE failing.after IN ('failed', 'failed_qc') AND failing.before <> failing.after
UNION ALL
SELECT
    'worker' AS subject,
    attempt.dispatch_id AS subject_id,
    attempt.category AS category,
    dispatch.editor AS editor,
    '' AS project,
    attempt.message AS message,
    attempt.ended_at AS failed_at,
    attempt.host AS host,
    0 AS standing
FROM attempt
JOIN dispatch ON dispatch.dispatch_id = attempt.dispatch_id
WHERE attempt.exit_code IS NULL OR attempt.exit_code NOT IN (0, 143, -15)
UNION ALL
SELECT
    'row' AS subject,
    refused.manifest_id || ':' || CAST(refused.line AS TEXT) AS subject_id,
    refused.category AS category,
    '' AS editor,
    '' AS project,
    refused.message AS message,
    refused.failed_at AS failed_at,
    '' AS host,
    0 AS standing
FROM row_failure AS refused
