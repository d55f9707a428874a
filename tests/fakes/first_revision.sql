INSERT INTO owner (owner_id, host, pid, process_started, seen_at) VALUES
    ('o', 'elsewhere', 1, 1, '2026-05-04 12:00:00.000000');
INSERT INTO edit_job (job_id, project, manifest_id, line, source_sha256, editor, weights, output, request) VALUES
    ('one', 'winter', 'aaaaaaaaaaaaaaaa', 1, '5555555555555555555555555555555555555555555555555555555555555555', 'grade', 'builtin', '', '{}'),
    ('two', '', 'aaaaaaaaaaaaaaaa', 2, '5555555555555555555555555555555555555555555555555555555555555555', 'grade', 'builtin', '', '{}');
INSERT INTO model_version (model_version_id, editor, editor_version, weights) VALUES (1, 'grade', '1', 'builtin');
INSERT INTO dispatch (dispatch_id, editor, weights, owner_id) VALUES ('d', 'grade', 'builtin', 'o');
INSERT INTO chunk (chunk_key, input_key, source_sha256, start_frame, end_frame, padding, seed, model_version_id,
    dispatch_id, claimed_for) VALUES
    ('a', 'i', '5555555555555555555555555555555555555555555555555555555555555555', 0, 1, 0, 0, 1, 'd', 'one'),
    ('b', 'i', '5555555555555555555555555555555555555555555555555555555555555555', 1, 2, 0, 0, 1, 'd', 'one'),
    ('c', 'i', '5555555555555555555555555555555555555555555555555555555555555555', 2, 3, 0, 0, 1, 'd', 'two');
INSERT INTO job_chunk (job_id, position, chunk_key, shot, lead) VALUES
    ('one', 0, 'a', 0, 0), ('one', 1, 'b', 0, 0), ('two', 0, 'c', 0, 0);
INSERT INTO attempt (dispatch_id, round, shard_index, attempt, gpu_seconds, started_at, ended_at) VALUES
    ('d', 1, 0, 0, 9.0, '2026-05-04 11:00:00.000000', '2026-05-04 12:00:00.000000');
INSERT INTO artifact (kind, sha256, uri, size, job_id, details) VALUES
    ('deliverable', 'e', 'file:///o', 1, 'one',
    '{"streams": [{"kind": "video", "codec": "h264", "packets": 1, "sha256": "5555555555555555555555555555555555555555555555555555555555555555"}]}')
