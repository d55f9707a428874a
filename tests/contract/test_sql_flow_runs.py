"""Who had it done, with which settings and code, is found again from what was made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import sql
from edits.errors import PermanentError
from edits.job import JobState
from sql.models import Environment, Event
from tests.fakes.recorded import MANIFEST, edit_job, plan

RUN = sql.FlowRunRecord(
    flow_run_id="11111111-2222-3333-4444-555555555555",
    flow="edit-manifest",
    submitted_by="ada@studio",
    settings={"workers": 2, "roots": ["/mnt"]},
    code_version="0.1.0+abc",
    packages={"numpy": "2.4.6", "python": "3.11.9"},
    lock_digest="f" * 64,
    image_digest="sha256:1234",
)


def test_a_deliverable_names_the_flow_run_that_made_it(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.record_flow_run(db, owner, RUN)
    job = edit_job()
    sql.record_job(db, job, owner)
    sql.record_plan(db, plan(job, "a"))
    sql.record_output_digest(db, job.job_id, job.output, "e" * 64, 5, owner=owner, encoding="libx264 crf=16")
    found = sql.lineage_of(db, "e" * 64)
    assert found.origin is not None
    assert (found.origin.submitted_by, found.origin.flow_run_id) == ("ada@studio", RUN.flow_run_id)
    assert (found.origin.settings, found.origin.packages) == (RUN.settings, RUN.packages)
    assert (found.origin.image_digest, found.encoding) == ("sha256:1234", "libx264 crf=16")


def test_events_name_the_flow_run_that_held_the_job_or_listed_it(db: sql.Database) -> None:
    owner = sql.this_process()
    sql.record_flow_run(db, owner, RUN)
    sql.record_job(db, edit_job(), owner)
    sql.take_job(db, "0" * 16, owner)
    sql.change_state(db, "0" * 16, JobState.SPLITTING, "its turn")
    sql.release_job(db, "0" * 16, owner)
    with db.read() as session:
        assert set(session.scalars(sa.select(Event.owner_id))) == {owner.owner_id}


def test_runs_with_equal_packages_share_one_environment(db: sql.Database) -> None:
    for _ in range(2):
        sql.record_flow_run(db, sql.this_process(), RUN)
    with db.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Environment)) == 1


def test_a_manifests_bytes_are_kept_as_they_were_read(db: sql.Database) -> None:
    sql.record_manifest(db, "b" * 16, "m.csv", "c" * 64, 1, b"source,instruction\r\n\xff")
    assert sql.manifest_content(db, "b" * 16) == b"source,instruction\r\n\xff"
    with pytest.raises(PermanentError, match=r"bytes of manifest .* are not recorded"):
        sql.manifest_content(db, MANIFEST)
