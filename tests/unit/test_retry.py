"""What a retry asks for: the rows of its manifest, and what it refuses."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import sql
from edits.errors import OutputError, PermanentError, TrustError
from edits.job import JobState, Sampling
from edits.keys import sha256_of
from edits.settings import Settings, load_settings
from edits.trust import Trust
from tasks.pick import pick
from tasks.retry import Change, again
from tests.fakes.recorded import edit_job, library


@pytest.fixture
def run(tmp_path: Path) -> SimpleNamespace:
    """As much of a run as a retry looks at."""
    db = library(f"sqlite:///{tmp_path}/library.db")
    sql.record_job(db, replace(edit_job(), editor="sama", preset="quality", sampling=Sampling(30, 5.0, 5.0)))
    return SimpleNamespace(db=db, database=db, overwrite=False, renew={}, settings=SimpleNamespace(endpoint_url=None))


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_without_a_change_it_is_the_same_row(run) -> None:
    (row,) = rows(again(run, "0" * 16, Change()))
    job = sql.job(run.db, "0" * 16).job
    assert (row["output"], row["seed"]) == (job.output, str(job.seed))


def test_variants_are_rows_with_the_next_seeds_and_versions(run) -> None:
    job = sql.job(run.db, "0" * 16).job
    made = rows(again(run, "0" * 16, Change(variants=3)))
    assert [int(row["seed"]) for row in made] == [job.seed + 1, job.seed + 2, job.seed + 3]
    stem = job.output.rpartition(".")[0]
    assert [row["output"].rpartition(".")[0] for row in made] == [f"{stem}_v00{n}" for n in (2, 3, 4)]
    named = rows(again(run, "0" * 16, Change(seed=40, variants=2)))
    assert [row["seed"] for row in named] == ["40", "41"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Change(chunks=(0,), seed=1), "give one"),
        (Change(shot=2), "say what is to be other for shot 2"),
    ],
)
def test_a_change_that_means_nothing_is_refused(run, change: Change, says: str) -> None:
    with pytest.raises(PermanentError, match=says):
        again(run, "0" * 16, change)


def test_variants_cannot_overwrite_one_another(run) -> None:
    run.overwrite = True
    with pytest.raises(PermanentError, match="leave --overwrite out"):
        again(run, "0" * 16, Change(variants=2))


def test_variants_need_an_editor_that_draws(run) -> None:
    sql.record_job(run.db, edit_job("1" * 16, line=3))
    with pytest.raises(PermanentError, match="all variants would be the same"):
        again(run, "1" * 16, Change(variants=2))


# -- picking ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def delivered(run, tmp_path: Path) -> Path:
    """The deliverable of a job that went its whole way."""
    made = tmp_path / "made.mp4"
    made.write_bytes(b"a film")
    job = replace(edit_job("2" * 16, line=4), output=made.as_uri())
    sql.record_job(run.db, job)
    for state in ("splitting", "queued", "editing", "stitching", "checking"):
        sql.change_state(run.db, job.job_id, JobState(state), "on its way")
    sql.record_output_digest(run.db, job.job_id, job.output, sha256_of(made), made.stat().st_size, (), "1")
    sql.change_state(run.db, job.job_id, JobState.DELIVERED, "published")
    return made


def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path, {}, {"database": f"sqlite:///{tmp_path}/library.db"})


def picked(tmp_path: Path, text: str, job_id: str = "2" * 16, *, overwrite: bool = False) -> Path:
    """As the command does with only the test's folder allowed."""
    return pick(settings(tmp_path), job_id, text, Trust([tmp_path], ("file", "s3"), {}), overwrite=overwrite)


def test_the_picked_deliverable_is_the_delivered_file(delivered: Path, tmp_path: Path) -> None:
    target = tmp_path / "final" / "scene.mp4"
    assert picked(tmp_path, str(target)) == target
    assert target.read_bytes() == b"a film"
    with pytest.raises(OutputError, match="is there already"):
        picked(tmp_path, str(target))


def test_what_is_not_what_was_delivered_is_not_picked(delivered: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="only a delivered one"):
        picked(tmp_path, f"{tmp_path}/x.mp4", "0" * 16)
    with pytest.raises(OutputError, match=r"cannot be written as '\.mov'. End it in \.mp4"):
        picked(tmp_path, f"{tmp_path}/x.mov")
    delivered.write_bytes(b"another")
    with pytest.raises(OutputError, match="not the file any more"):
        picked(tmp_path, f"{tmp_path}/x.mp4")
    assert not list(tmp_path.glob("*.part"))


def test_a_deliverable_is_picked_to_where_an_output_may_lie_and_nowhere_else(delivered: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    trust = Trust([allowed], ("file", "s3"), {})
    with pytest.raises(TrustError, match="outside the allowed folders"):
        pick(settings(tmp_path), "2" * 16, str(tmp_path / "x.mp4"), trust, overwrite=True)
    with pytest.raises(OutputError, match="keeps for itself"):
        picked(tmp_path, f"{settings(tmp_path).state_folder}/x.mp4")
    with pytest.raises(OutputError, match=r"once, in the file's name"):
        picked(tmp_path, f"{tmp_path}/x_v##.mp4")
    assert not (tmp_path / "x.mp4").exists()


def test_a_picked_deliverable_takes_the_next_free_version_or_its_own_name_in_a_folder(
    delivered: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    assert [picked(tmp_path, f"{tmp_path}/p_v###.mp4").name for _ in range(2)] == ["p_v001.mp4", "p_v002.mp4"]
    assert picked(tmp_path, f"{tmp_path}/new/") == tmp_path / "new" / "made.mp4"
    assert picked(tmp_path, f"{tmp_path}/there") == tmp_path / "there" / "made.mp4"
