"""A cut is conformed with what the database says was delivered."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sql
from edits.errors import ManifestError, OutputError
from edits.job import EditJob, JobState
from edits.trust import file_uri
from flows.cli import app
from tasks.conform import conform
from tasks.run import Run, open_run
from tests.fakes.footage import constant, write_footage

EDL = """TITLE: REEL 4
FCM: NON-DROP FRAME
001  A001 V     C        {0} {1} 10:00:00:00 10:00:01:00
* FROM CLIP NAME: dog.mov
* COMMENT: make it sepia
002  A001 V     C        {0} {1} 10:00:01:00 10:00:02:00
* FROM CLIP NAME: dog.mov
"""
LIFE = (JobState.SPLITTING, JobState.QUEUED, JobState.STITCHING, JobState.CHECKING, JobState.DELIVERED)


def delivered(run: Run, source: Path, job_id: str, start: int, end: int, handles: int) -> None:
    """A job of the source's frames `[start, end)` and its handles, walked through its life."""
    sha = "5" * 64
    job = EditJob(
        job_id=job_id, manifest_id="m" * 16, line=2, source=file_uri(source), source_sha256=sha, start=start - handles,
        end=end + handles, instruction="make it sepia", editor="grade", weights="builtin", weights_digest="", preset="",
        seed=0, sampling=None, deliverable="prores_422_hq", detail="full", output=f"file:///out/{job_id}.mov",
        project="", priority=0, notes="", handles=handles,
    )  # fmt: skip
    sql.record_manifest(run.db, "m" * 16, "m.csv", sha, 1)
    sql.record_source(run.db, sha, job.source, 1000, 60)
    sql.record_job(run.db, job)
    for state in LIFE:
        sql.change_state(run.db, job_id, state, "told so")


@pytest.mark.parametrize(
    ("timecode", "written", "expected"),
    [
        ("01:00:00:00", ("01:00:00:10", "01:00:01:10"), ("01:00:00:10", "01:00:01:10")),
        (None, ("00:00:00:10", "00:00:01:10"), ("00:00:00:04", "00:00:01:04")),
    ],
    ids=["the deliverable goes on with the source's timecode", "it counts from zero, handles first"],
)
def test_a_delivered_clip_is_replaced_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timecode: str | None, written: tuple, expected: tuple
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_footage(tmp_path / "dog.mov", constant(60, 512), Fraction(1, 12800), timecode=timecode)
    cut, target = tmp_path / "cut.edl", tmp_path / "new.edl"
    cut.write_text(EDL.format(*written))
    with open_run((tmp_path,)) as run:
        delivered(run, source, "a" * 16, 0, 20, 0)
        delivered(run, source, "b" * 16, 10, 35, 4)
        placed = conform(run, cut, target, tmp_path)
        with pytest.raises(OutputError, match="is there already"):
            conform(run, cut, target, tmp_path)
        with pytest.raises(OutputError, match=r"End it in \.edl|end it in \.edl"):
            conform(run, cut, tmp_path / "new.otio", tmp_path)
    assert [part.job.job_id for part in placed] == ["b" * 16]
    lines = target.read_text().splitlines()
    assert lines[2] == "001  A001 V     C        {} {} 10:00:00:00 10:00:01:00".format(*expected)
    assert lines[3] == f"* FROM CLIP NAME: {'b' * 16}.mov"
    assert lines[-2:] == cut.read_text().splitlines()[-2:]


def test_a_clip_that_uses_frames_which_its_media_has_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_footage(tmp_path / "dog.mov", constant(60, 512), Fraction(1, 12800))
    cut = tmp_path / "cut.edl"
    cut.write_text(EDL.format("00:00:09:00", "00:00:10:00"))
    with open_run((tmp_path,)) as run, pytest.raises(ManifestError, match=r"clip 1 uses dog\.mov from 00:00:09:00"):
        conform(run, cut, tmp_path / "new.edl", tmp_path)


def test_the_command_takes_relative_paths_and_names_what_was_not_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_footage(tmp_path / "dog.mov", constant(60, 512), Fraction(1, 12800))
    first, second = EDL.format("00:00:00:10", "00:00:01:10").split("002  ")
    later = second.replace("00:00:00:10", "00:00:00:11") + "* COMMENT: make it cooler\n"
    (tmp_path / "cut.edl").write_text(f"{first}002  {later}")
    with open_run((tmp_path,)) as run:
        delivered(run, source, "b" * 16, 10, 35, 4)
    answer = CliRunner().invoke(app, ["timeline", "conform", "cut.edl", "new.edl", "--media", "."])
    assert answer.output.splitlines()[-3:] == [
        f"clip 1: file:///out/{'b' * 16}.mov",
        "clip 2: left as it was: nothing with exactly its frames was delivered",
        "1 of 2 clips with notes replaced in new.edl",
    ]
