-- What was made of what: each recorded file and each of those that it was made from.
SELECT
    made.artifact_id AS made_id,
    made.kind AS made_kind,
    made.sha256 AS made_sha256,
    made.uri AS made_uri,
    made.job_id AS job_id,
    edge.role AS role,
    given.artifact_id AS given_id,
    given.kind AS given_kind,
    given.sha256 AS given_sha256,
    given.uri AS given_uri,
    given.key AS given_key
FROM artifact_input AS edge
JOIN artifact AS made ON made.artifact_id = edge.output_id
JOIN artifact AS given ON given.artifact_id = edge.input_id
