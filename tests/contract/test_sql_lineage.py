"""Lineage: from the bytes of a deliverable back to source, seed, weights and code."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

import sql
from edits import wire
from edits.errors import DatabaseError, PermanentError
from edits.job import InputRecord, JobState, Sampling
from edits.lineage import Lineage
from edits.media.records import Check, StreamDigest
from flows.answers import show_lineage
from sql.models import Approval, ArtifactInput, QcResult
from tests.fakes.recorded import SOURCE, dispatch, edit_job, key, marker, plan, recorded_job

JOB = "0" * 16
OUT = f"file:///out/{JOB}.mp4"
BYTES = "e" * 64
STREAM = StreamDigest("video", "h264", 36, "1" * 64)


def delivered(db: sql.Database, job_id: str = JOB, keys: str = "abc", sha256: str = BYTES, line: int = 2) -> None:
    job = recorded_job(db, job_id, keys, line)
    for chunk in plan(job, keys).chunks:
        given = InputRecord(chunk.input_key, chunk.input_key.ljust(64, "0"), 50, 13, 160, 96)
        sql.record_input(db, given, SOURCE)
    sql.record_chunk_done(db, *[marker(letter) for letter in keys])
    sql.record_output_digest(db, job_id, job.output, sha256, 5000, [STREAM], "0.1.0+abc")
    sql.record_lineage(db, job_id, {key(letter): letter * 64 for letter in keys})


def test_every_version_that_was_delivered_is_found_and_what_never_was_published_is_not(db: sql.Database) -> None:
    delivered(db, sha256="1" * 64)
    assert sql.delivered_files(db) == ()
    sql.walk_to_delivered(db, JOB, "there")
    sql.change_state(db, JOB, JobState.PLANNED, "a shot anew")
    delivered(db, sha256="2" * 64)
    sql.change_state(db, JOB, JobState.FAILED, "no space")
    sql.change_state(db, JOB, JobState.PLANNED, "again")
    assert versions(db) == ["1"]
    delivered(db, sha256="3" * 64)
    sql.walk_to_delivered(db, JOB, "there")
    sql.change_state(db, JOB, JobState.PLANNED, "a shot anew")
    assert versions(db) == ["1", "3"]


def versions(db: sql.Database) -> list[str]:
    return [sql.lineage_of_file(db, artifact_id).sha256[0] for artifact_id in sql.delivered_files(db)]


def edges(db: sql.Database) -> set[tuple[int, int, str]]:
    with db.read() as session:
        columns = (ArtifactInput.output_id, ArtifactInput.input_id, ArtifactInput.role)
        return {(made, given, str(role)) for made, given, role in session.execute(sa.select(*columns))}


def test_a_deliverable_is_traced_to_all_that_made_it_by_its_digest_alone(db: sql.Database) -> None:
    delivered(db)
    found = sql.lineage_of(db, BYTES)
    assert (found.uri, found.job, found.code_version, found.streams) == (OUT, edit_job(), "0.1.0+abc", (STREAM,))
    assert (found.source.sha256, found.source.uri, found.source.frames) == (SOURCE, "file:///in/a.mp4", 36)
    assert [(chunk.start, chunk.end, chunk.chunk_key) for chunk in found.chunks] == [
        (0, 12, key("a")),
        (12, 24, key("b")),
        (24, 36, key("c")),
    ]
    first = found.chunks[0]
    assert (first.sha256, first.seed, first.device, first.editor_version) == ("a" * 64, 7, "cpu", "1")
    assert first.input_sha256 == "ainput".ljust(64, "0")
    assert found.plan is not None
    assert (found.plan.width, found.plan.numerics) == (160, "uint8")


def test_what_is_approximate_is_named(db: sql.Database, capsys: pytest.CaptureFixture[str]) -> None:
    delivered(db)
    found = sql.lineage_of(db, BYTES)
    assert found.plan is not None
    show_lineage(found)
    assert "approximate" not in capsys.readouterr().out
    job = replace(found.job, sampling=Sampling(50, 5.0, 5.0, guided=0.5, step_cache=0.05))
    show_lineage(replace(found, job=job, plan=replace(found.plan, numerics="bfloat16+fp8")))
    assert (
        "approximate  guidance in the first 50% of the steps only; "
        "steps that drift by less than 0.05 take the one before; fp8"
    ) in capsys.readouterr().out


def test_a_job_and_the_beginning_of_its_id_give_the_same_lineage(db: sql.Database) -> None:
    delivered(db)
    assert sql.lineage_of(db, JOB) == sql.lineage_of(db, "00") == sql.lineage_of(db, BYTES)


def test_lineage_is_plain_json_that_reads_back(db: sql.Database) -> None:
    delivered(db)
    found = sql.lineage_of(db, JOB)
    text = json.dumps(found.as_dict())
    assert wire.load(Lineage, text.encode(), "lineage") == found


def test_recording_lineage_again_changes_nothing(db: sql.Database) -> None:
    delivered(db)
    before = edges(db)
    sql.record_lineage(db, JOB, {key(letter): letter * 64 for letter in "abc"})
    assert edges(db) == before
    assert sorted(role for _, _, role in before) == ["chunk"] * 3 + ["input"] * 3 + ["source"] * 4


def test_weights_are_an_edge_of_each_chunk(db: sql.Database) -> None:
    job = replace(edit_job(), editor="sama", weights="tiny", weights_digest="w" * 64)
    sql.record_job(db, job)
    sql.record_plan(db, plan(job, "a"))
    sql.record_chunk_done(db, replace(marker("a"), weights_digest="w" * 64))
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    sql.record_lineage(db, JOB, {key("a"): "a" * 64})
    assert sorted(role for _, _, role in edges(db)) == ["chunk", "source", "weights"]
    (chunk,) = sql.lineage_of(db, JOB).chunks
    assert (chunk.weights, chunk.weights_digest, chunk.input_sha256) == ("tiny", "w" * 64, "")


def test_the_chunk_file_that_was_used_is_named_even_after_the_chunk_was_edited_again(db: sql.Database) -> None:
    delivered(db)
    sql.record_chunk_done(db, marker("a", "d" * 64, device="another"))
    assert (sql.lineage_of(db, JOB).chunks[0].sha256, sql.lineage_of(db, JOB).chunks[0].device) == ("a" * 64, "cpu")


def test_two_chunks_with_equal_bytes_are_both_in_the_lineage(db: sql.Database) -> None:
    recorded_job(db, JOB, "ab")
    sql.record_chunk_done(db, marker("a", "f" * 64), marker("b", "f" * 64))
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    sql.record_lineage(db, JOB, {key("a"): "f" * 64, key("b"): "f" * 64})
    assert [chunk.chunk_key for chunk in sql.lineage_of(db, JOB).chunks] == [key("a"), key("b")]


def test_a_chunk_that_equals_its_input_byte_for_byte_is_traced_all_the_same(db: sql.Database) -> None:
    job = recorded_job(db, JOB, "a")
    given = plan(job, "a").chunks[0].input_key
    sql.record_input(db, InputRecord(given, "a" * 64, 50, 13, 160, 96), SOURCE)
    sql.record_chunk_done(db, marker("a"))
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    sql.record_lineage(db, JOB, {key("a"): "a" * 64})
    assert sql.lineage_of(db, BYTES).chunks[0].input_sha256 == "a" * 64


def test_two_jobs_that_deliver_equal_bytes_name_each_others_place(db: sql.Database) -> None:
    delivered(db, JOB)
    delivered(db, "1" * 16, line=3)
    assert sql.lineage_of(db, JOB).copies == (f"file:///out/{'1' * 16}.mp4",)
    assert sql.lineage_of(db, "1").copies == (OUT,)


def test_lineage_tells_what_the_job_was_when_it_was_delivered(db: sql.Database) -> None:
    delivered(db)
    sql.record_job(db, replace(edit_job(), notes="changed afterwards"))
    assert sql.lineage_of(db, BYTES).job.notes == ""
    assert sql.job(db, JOB).job.notes == "changed afterwards"


def test_an_unknown_digest_and_one_of_another_kind_say_what_they_are(db: sql.Database) -> None:
    delivered(db)
    with pytest.raises(PermanentError, match="it was not made here, or was changed since"):
        sql.lineage_of(db, "9" * 64)
    with pytest.raises(PermanentError, match="is no deliverable: it is recorded as source file:"):
        sql.lineage_of(db, SOURCE)


def test_a_job_without_a_deliverable_says_its_state(db: sql.Database) -> None:
    recorded_job(db)
    with pytest.raises(PermanentError, match="has no deliverable yet: it is planned"):
        sql.lineage_of(db, JOB)


def test_lineage_over_a_chunk_file_that_is_not_recorded_is_refused(db: sql.Database) -> None:
    recorded_job(db, JOB, "a")
    with pytest.raises(DatabaseError, match="record its digest before its lineage"):
        sql.record_lineage(db, JOB, {key("a"): "a" * 64})
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    with pytest.raises(DatabaseError, match="record its marker first"):
        sql.record_lineage(db, JOB, {key("a"): "a" * 64})


# -- the digest before publishing -------------------------------------------------------------------------------------


def test_a_file_is_ours_when_its_digest_was_recorded_for_its_place(db: sql.Database) -> None:
    recorded_job(db)
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    sql.record_output_digest(db, JOB, OUT, "d" * 64, 2)
    newest = sql.artifact_at(db, OUT)
    assert newest is not None
    assert newest.sha256 == "d" * 64
    assert sql.artifact_at(db, OUT, BYTES) is not None
    assert sql.artifact_at(db, OUT, "9" * 64) is None
    assert sql.artifact_at(db, "file:///out/other.mp4") is None


def test_the_digest_recorded_last_is_the_jobs_output_even_if_it_was_recorded_before(db: sql.Database) -> None:
    recorded_job(db)
    for sha256 in (BYTES, "d" * 64, BYTES):
        sql.record_output_digest(db, JOB, OUT, sha256, 1)
    output = sql.output_of(db, JOB)
    assert output is not None
    assert (output.sha256, output.job_id) == (BYTES, JOB)


def test_a_job_that_stitched_nothing_yet_has_no_output(db: sql.Database) -> None:
    recorded_job(db)
    assert sql.output_of(db, JOB) is None


def test_a_digest_finds_the_deliverable_before_any_other_kind(db: sql.Database) -> None:
    recorded_job(db, JOB, "a")
    sql.record_output_digest(db, JOB, OUT, "a" * 64, 1)
    sql.record_chunk_done(db, marker("a"))
    found = sql.artifact_by_digest(db, "a" * 64)
    assert found is not None
    assert found.uri == OUT


def test_a_source_seen_at_two_places_is_one_source_and_two_artifacts(db: sql.Database) -> None:
    sql.record_source(db, SOURCE, "file:///moved/a.mp4", 1000, 36)
    assert sql.artifact_at(db, "file:///in/a.mp4") is not None
    assert sql.artifact_at(db, "file:///moved/a.mp4") is not None


def test_checks_are_kept_with_the_deliverable_that_they_are_about(db: sql.Database) -> None:
    recorded_job(db)
    sql.record_output_digest(db, JOB, OUT, BYTES, 1)
    sql.record_qc(db, JOB, BYTES, [Check("frames", True, "36", "36"), Check("duration", False, "3/2", "1")])
    with db.read() as session:
        rows = list(session.scalars(sa.select(QcResult).order_by(QcResult.qc_result_id)))
    assert [(row.name, row.passed, row.sha256) for row in rows] == [("frames", True, BYTES), ("duration", False, BYTES)]


def test_the_images_that_workers_ran_are_told_with_what_they_edited(db: sql.Database) -> None:
    delivered(db)
    sql.claim(db, dispatch(), [key("a")], sql.this_process())
    now = datetime(2026, 5, 4, tzinfo=UTC)
    for name, image in (("pod-a", "gpu@sha256:1"), ("pod-b", "gpu@sha256:1"), ("pod-c", "")):
        facts = (0, "done", "", 1.0, "cpu", "here", now, now)
        sql.record_attempt(db, sql.AttemptRecord("d1", 0, 0, *facts, worker=name, image=image))
    assert sql.lineage_of(db, JOB).worker_images == ("gpu@sha256:1",)


def test_what_people_decided_is_told_with_the_deliverable(db: sql.Database) -> None:
    job = recorded_job(db)
    sql.record_output_digest(db, job.job_id, job.output, "e" * 64, 5)
    assert sql.lineage_of(db, "e" * 64).reviews == ()
    with db.write() as session:
        for decision, reason in (("rejected", "too yellow"), ("approved", "")):
            row = {"job_id": job.job_id, "sha256": "e" * 64, "decision": decision, "reviewer": "ann", "reason": reason}
            session.execute(sa.insert(Approval).values(**row))
    found = sql.lineage_of(db, "e" * 64).reviews
    assert [(review.decision, review.reviewer, review.reason) for review in found] == [
        ("rejected", "ann", "too yellow"),
        ("approved", "ann", ""),
    ]
    assert all(review.at.endswith("+00:00") for review in found)


def test_a_change_is_told_with_the_job_that_follows_and_found_from_it(db: sql.Database) -> None:
    job, other = recorded_job(db), recorded_job(db, "1" * 16, "d")
    sql.record_output_digest(db, job.job_id, job.output, "e" * 64, 5)
    sql.record_successor(db, job.job_id, other.job_id)
    assert sql.change_before(db, other.job_id) is None
    for changes in ("seed '2'", "seed '3'"):
        sql.record_approval(db, job.job_id, sql.Decision.REJECTED, "ann", "too yellow", "e" * 64, changes)
    sql.record_approval(db, job.job_id, sql.Decision.APPROVED, "bo")
    sql.record_successor(db, job.job_id, other.job_id)
    told = [(review.changes, review.successor_id) for review in sql.lineage_of(db, "e" * 64).reviews]
    assert told == [("seed '2'", ""), ("seed '3'", other.job_id), ("", "")]
    before = sql.change_before(db, other.job_id)
    assert before is not None
    assert (before.job_id, before.verdict, before.reviewer, before.changes) == (
        job.job_id,
        "changed",
        "ann",
        "seed '3'",
    )
