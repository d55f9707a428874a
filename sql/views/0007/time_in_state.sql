-- How long each job was in each state that is not an end; a job is in its present state until now. When a job entered a
-- state that was recovered from the store, nobody knows: such stays are left out.
SELECT
    job.job_id AS job_id,
    job.project AS project,
    job.editor AS editor,
    stay.state AS state,
    stay.entered_at AS entered_at,
    SECONDS_BETWEEN(stay.entered_at, stay.left_at) AS seconds
FROM (
    SELECT
        job_event.job_id AS job_id,
        job_event.after AS state,
        job_event.at AS entered_at,
        job_event.reason AS reason,
        LEAD(job_event.at, 1, CURRENT_MOMENT) OVER (
            PARTITION BY job_event.job_id ORDER BY job_event.event_id
        ) AS left_at
    FROM job_event
) AS stay
JOIN edit_job AS job ON job.job_id = stay.job_id
WHERE stay.state NOT IN ('delivered', 'failed', 'failed_qc', 'cancelled')
    AND stay.reason <> 'recovered from the store'
