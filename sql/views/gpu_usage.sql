-- GPU-hours and what they cost by day, project and editor, from the totals that are kept with each attempt.
SELECT
    day,
    project,
    editor,
    currency,
    chunks,
    gpu_seconds,
    gpu_seconds / 3600.0 AS gpu_hours,
    cost
FROM daily_usage
