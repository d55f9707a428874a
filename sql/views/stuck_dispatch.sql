-- Dispatches that have not ended: they hold their chunks, whether or not their flow still lives.
SELECT
    dispatch.dispatch_id AS dispatch_id,
    dispatch.state AS state,
    dispatch.editor AS editor,
    dispatch.weights AS weights,
    dispatch.rounds AS rounds,
    dispatch.created_at AS created_at,
    SECONDS_BETWEEN(dispatch.created_at, CURRENT_MOMENT) AS age_seconds,
    SECONDS_BETWEEN(owner.seen_at, CURRENT_MOMENT) AS silent_seconds,
    (SELECT COUNT(*) FROM chunk WHERE chunk.dispatch_id = dispatch.dispatch_id) AS chunks
FROM dispatch
JOIN owner ON owner.owner_id = dispatch.owner_id
WHERE dispatch.state IN ('claimed', 'written')
