"""Opening and migrating: models and migrations agree, and no database is migrated behind anybody's back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import sql
from edits.errors import BusyError, DatabaseError
from edits.media.records import Check, StreamDigest
from edits.settings import load_settings
from flows.serve import Service, serve
from sql.migrations.lock import LOCK
from sql.models import METADATA, ArtifactStream, Chunk, DailyUsage, JobModel, Share
from sql.revisions import config, head
from sql.views import FOLDER as VIEWS
from tests.fakes.postgresql import Server
from tests.fakes.recorded import dispatch, edit_job, gone, key, library, marker, recorded_job
from tests.fakes.shapes import shape

NewAddress = Callable[..., str]

FIRST_REVISION = Path(__file__).parents[1] / "fakes" / "first_revision.sql"
"""Rows as that revision wrote them: the models know only the newest."""


@pytest.fixture
def address(new_address: NewAddress) -> str:
    """The URL of a new database with samaflow's tables, which the test may change."""
    url = new_address("migrated")
    if url.startswith("sqlite:"):
        sql.open_database(url).close()
    return url


def at(db: sql.Database, revision: str) -> None:
    with db.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def down(db: sql.Database, revision: str) -> None:
    with db.write() as session:
        command.downgrade(config(session.connection()), revision)


def previous() -> str:
    """The revision before the code's; the first one's is called base."""
    script = ScriptDirectory.from_config(config()).get_revision(head())
    return str(script.down_revision or "base")


def test_models_and_migrations_agree(db: sql.Database) -> None:
    with db.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, METADATA) == []


def test_migrations_make_the_very_tables_of_the_models_checks_and_defaults_included(
    db: sql.Database, new_address: NewAddress
) -> None:
    modelled = sql.connect(new_address())
    with modelled.write() as session:
        METADATA.create_all(session.connection())
    views = {path.stem for path in VIEWS.glob("*.sql")}
    assert set(shape(db)) - set(shape(modelled)) == views
    assert shape(modelled) == {name: said for name, said in shape(db).items() if name not in views}
    modelled.close()


def test_every_constraint_and_index_has_a_name_of_the_convention() -> None:
    prefixes = ("pk_", "fk_", "uq_", "ck_", "ix_")
    for table in METADATA.tables.values():
        names = [str(item.name) for item in table.constraints] + [str(item.name) for item in table.indexes]
        assert all(name.startswith(prefixes) for name in names), table.name


def test_the_file_with_the_highest_number_is_alembics_head() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == head()


def test_migrations_run_up_down_and_up_again_with_rows_in_the_tables(db: sql.Database) -> None:
    recorded_job(db)
    sql.record_chunk_done(db, marker("a"))
    before = shape(db)
    down(db, "base")
    assert (shape(db), sql.revision(db)) == ({}, None)
    sql.migrate(db)
    assert (shape(db), sql.revision(db)) == (before, head())


def test_what_the_first_revision_knew_is_carried_over(db: sql.Database) -> None:
    """Streams leave the details for a table; seconds are dealt to the jobs that had claimed the chunks."""
    down(db, "0001")
    with db.write() as session:
        for statement in FIRST_REVISION.read_text(encoding="utf-8").split(";\n"):
            session.execute(sa.text(statement))
    sql.migrate(db)
    with db.read() as session:
        streams = session.execute(sa.select(ArtifactStream.position, ArtifactStream.sha256)).all()
        models = session.execute(sa.select(JobModel.job_id, JobModel.model_version_id)).all()
        shares = session.execute(sa.select(Share.job_id, Share.gpu_seconds).order_by(Share.job_id)).all()
        usage = session.execute(sa.select(DailyUsage.day, DailyUsage.project, DailyUsage.gpu_seconds)).all()
    assert streams == [(0, "5" * 64)]
    assert models == [("one", 1), ("two", 1)]
    assert shares == [("one", 6.0), ("two", 3.0)]
    assert sorted(usage) == [(date(2026, 5, 4), "", 3.0), (date(2026, 5, 4), "winter", 6.0)]


def test_rows_survive_the_way_down_to_the_first_revision_and_up_again(db: sql.Database) -> None:
    job, now = recorded_job(db), datetime(2026, 5, 4, 12, tzinfo=UTC)
    sql.claim(db, dispatch(), [key("a"), key("b")], sql.this_process())
    sql.record_chunk_done(db, marker("a"), marker("b"))
    facts = (0, "done", "", 60.0, "cpu", "here", now, now, (key("a"), key("b")))
    sql.record_attempt(db, sql.AttemptRecord("d1", 0, 0, *facts))
    sql.end_dispatch(db, "d1", sql.DispatchState.DONE, "done")
    sql.record_output_digest(db, job.job_id, job.output, "e" * 64, 5, [StreamDigest("video", "h264", 36, "1" * 64)])
    sql.record_lineage(db, job.job_id, {key("a"): "a" * 64, key("b"): "b" * 64})
    sql.record_qc(db, job.job_id, "e" * 64, [Check("frames", True, "36", "36")])
    sql.record_approval(db, job.job_id, sql.Decision.APPROVED, "a person", sha256="e" * 64)
    before = (sql.lineage_of(db, "e" * 64), sql.jobs(db), sql.job_events(db, job.job_id), sql.usage(db, by=["day"]))
    down(db, "0001")
    sql.migrate(db)
    after = (sql.lineage_of(db, "e" * 64), sql.jobs(db), sql.job_events(db, job.job_id), sql.usage(db, by=["day"]))
    assert after[:3] == before[:3]
    assert [line.gpu_seconds for line in after[3]] == [line.gpu_seconds for line in before[3]] == [60.0]
    assert sql.file_with_stream(db, ["1" * 64]) == "e" * 64


def test_which_chunks_are_in_a_deliverable_is_carried_over_from_the_lineage(db: sql.Database) -> None:
    job = recorded_job(db)
    sql.record_chunk_done(db, marker("a"), marker("b"))
    sql.record_output_digest(db, job.job_id, job.output, "e" * 64, 5)
    sql.record_lineage(db, job.job_id, {key("b"): "b" * 64})
    down(db, "0004")
    sql.migrate(db)
    with db.read() as session:
        assert session.scalars(sa.select(Chunk.chunk_key).where(Chunk.delivered)).all() == [key("b")]


def test_migrating_a_database_at_the_head_changes_nothing(db: sql.Database) -> None:
    recorded_job(db)
    sql.migrate(db)
    assert len(sql.jobs(db)) == 1


def test_what_was_recorded_is_there_when_the_database_is_opened_again(address: str) -> None:
    library(address).close()
    db = sql.open_database(address)
    sql.record_job(db, edit_job())
    assert len(sql.jobs(db)) == 1
    db.close()


def test_a_newer_database_is_refused_and_left_alone(address: str) -> None:
    db = sql.open_database(address)
    at(db, "9999")
    with pytest.raises(DatabaseError, match=r"revision 9999, which this samaflow does not know: .*update samaflow"):
        sql.open_database(address)
    with pytest.raises(DatabaseError, match="update samaflow"):
        sql.migrate(db)
    assert sql.revision(db) == "9999"
    db.close()


def test_an_older_database_is_refused_naming_the_command_that_migrates_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sql.revisions.head", lambda: "9998")
    with pytest.raises(DatabaseError, match=rf"at revision {head()}, this samaflow needs 9998: .*doctor --migrate"):
        sql.open_database(address)


def test_another_programs_database_is_refused_and_gets_no_tables(new_address: NewAddress) -> None:
    url = new_address()
    db = sql.connect(url)
    with db.write() as session:
        session.execute(sa.text("CREATE TABLE theirs (x INTEGER)"))
    with pytest.raises(DatabaseError, match="has no tables of samaflow's"):
        sql.open_database(url)
    assert set(shape(db)) == {"theirs"}
    db.close()


def takes_a_job(db: sql.Database, owner: sql.Owner) -> None:
    recorded_job(db)
    sql.take_job(db, "0" * 16, owner)


def trains(db: sql.Database, owner: sql.Owner) -> None:
    run = sql.TrainingRunRecord("r1", "pico", "c" * 64, "d" * 64, "/runs/pico", "0.1.0+abc")
    sql.begin_training(db, run, [], owner)


@pytest.mark.parametrize("work", [takes_a_job, trains])
def test_a_database_is_not_migrated_while_a_flow_is_at_work(
    db: sql.Database, work: Callable[[sql.Database, sql.Owner], None]
) -> None:
    mine = sql.this_process()
    work(db, mine)
    at(db, previous())
    with pytest.raises(DatabaseError, match=rf"running flow \(process {mine.pid} on .*: let it end"):
        sql.migrate(db)
    assert sql.revision(db) != head()


def test_what_a_dead_flow_held_does_not_stop_a_migration(db: sql.Database) -> None:
    recorded_job(db)
    trains(db, gone(sql.this_process()))
    sql.claim(db, dispatch(), [key("a")], gone(sql.this_process()))
    down(db, previous())
    sql.migrate(db)
    assert sql.revision(db) == head()


# -- PostgreSQL alone -------------------------------------------------------------------------------------------------


def test_an_empty_postgresql_database_gets_its_tables_only_when_asked(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.create("nobodys")
    with pytest.raises(DatabaseError, match=r"has no tables of samaflow's: .*run `samaflow doctor --migrate`"):
        sql.open_database(url)
    with pytest.raises(DatabaseError, match="has no tables of samaflow's"):
        serve(replace(load_settings(tmp_path, {}, {}), database=url), Service("127.0.0.1", 4200, 4201, 2, ""))
    assert list(tmp_path.iterdir()) == [], "nothing was started"
    db = sql.connect(url)
    sql.migrate(db)
    db.close()
    sql.open_database(url).close()


def test_a_migration_waits_for_another_one_and_says_so_when_that_takes_too_long(postgresql: Server) -> None:
    url = postgresql.create("waiting")
    first, second = sql.connect(url), sql.connect(url, busy_seconds=0.2)
    with first.write() as session:
        session.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        with pytest.raises(BusyError, match="did not grant a lock in time: try again"):
            sql.migrate(second)
    sql.migrate(second)
    assert sql.revision(second) == head()
    first.close()
    second.close()
