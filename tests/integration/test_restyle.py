"""A library in one style: done once, then only what is new or changed; limits and other runs are respected."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import sql
from edits.errors import BadRowError, PermanentError, SettingsError, SourceError
from edits.library import VIDEOS
from edits.storage import Store
from edits.survey import Verdict
from tasks.budget import Budget
from tasks.conclude import SomeJobsFailedError
from tasks.intake import take_in
from tasks.library import Library, LibraryResult, result_of, settle, take_on
from tasks.run import open_run
from tests.fakes.chain import edit_plainly
from tests.fakes.clips import write_clip
from tests.fakes.command import wait_until
from tests.fakes.s3 import BUCKET, ENVIRON, TroubledS3, s3_server

CHECKOUT = Path(__file__).resolve().parents[2]
STYLE = {"instruction": "turn it sepia", "editor": "grade"}


@pytest.fixture
def rushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rushes" / "day 1").mkdir(parents=True)
    write_clip(tmp_path / "rushes" / "a.mp4", frames=24)
    write_clip(tmp_path / "rushes" / "day 1" / "b.mp4", frames=30)
    return tmp_path / "rushes"


def wanted(**changes: object) -> Library:
    facts = {"root": "rushes", "mirror": "results", "style": STYLE, "patterns": VIDEOS}
    return Library(**{**facts, **changes})  # type: ignore[arg-type]


def restyle(allow: str = ".", **changes: object) -> LibraryResult:
    with open_run([], [allow]) as run:
        taken = take_on(run, wanted(**changes))
        summary = None
        if taken.files:
            try:
                summary = edit_plainly(run, take_in(run, taken.manifest(), "library", Path.cwd()))
            except SomeJobsFailedError as error:
                summary = error.summary
            finally:
                settle(run, taken)
        return result_of(taken, summary)


def test_a_second_run_does_only_what_is_new_or_changed(rushes: Path, tmp_path: Path) -> None:
    assert restyle().counts == {"new": 2}
    results = sorted(path.relative_to(tmp_path / "results").parent for path in (tmp_path / "results").rglob("*.mp4"))
    assert results == [Path(), Path("day 1")]
    assert restyle().counts == {"done": 2}

    os.utime(rushes / "a.mp4", (1, 1))
    write_clip(rushes / "day 1" / "b.mp4", frames=31)
    (rushes / "torn.mp4").write_bytes(b"nothing")
    third = restyle()
    assert third.counts == {"new": 1, "changed": 1, "done, same bytes": 1}
    assert third.failed == 1
    fourth = restyle()
    assert fourth.counts == {"done": 2, "failed before": 1}
    assert [(file.verdict, "not a video" in file.why) for file in fourth.files] == [("failed before", True)]
    assert len(list((tmp_path / "results").rglob("*.mp4"))) == 3


def test_two_runs_at_once_never_take_on_the_same_file_and_a_dead_run_leaves_all_it_had(rushes: Path) -> None:
    with open_run([]) as first, open_run([]) as second, open_run([]) as third:
        assert len(take_on(first, wanted(max_videos=1)).files) == 1
        second.owner = replace(second.owner, pid=2**22 + 1)
        taken = take_on(second, wanted())
        assert [judged.verdict for judged in (*taken.files, *taken.passed_over)] == [Verdict.NEW, Verdict.ELSEWHERE]
        taken = take_on(third, wanted())
        assert [judged.verdict for judged in (*taken.files, *taken.passed_over)] == [Verdict.LEFT, Verdict.ELSEWHERE]


TAKE_ON = """
import sys
from tests.integration.test_restyle import open_run, take_on, wanted
root, mirror, allow = sys.argv[1:]
take_on(open_run([], [allow]), wanted(root=root, mirror=mirror, max_videos=3000))
"""


def taking_on(root: str = "rushes", mirror: str = "results", allow: str = ".") -> subprocess.Popen[bytes]:
    """Another process that takes a library on, here."""
    command = [sys.executable, "-c", TAKE_ON, root, mirror, allow]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})


def test_a_run_killed_while_it_takes_a_library_on_leaves_every_file_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rushes").mkdir()
    for number in range(3000):
        (tmp_path / "rushes" / f"{number}.mp4").touch()
    with open_run([]) as run:
        assert sql.library_items(run.db, "", run.owner) == {}
    other = taking_on()
    wait_until(lambda: claimed(tmp_path) >= 1000, "the first thousand files to be taken on")
    other.kill()
    assert other.wait() == -signal.SIGKILL
    begun = claimed(tmp_path)
    assert 1000 <= begun < 3000
    with open_run([]) as run:
        taken = take_on(run, wanted(max_videos=3000))
        verdicts = Counter(judged.verdict for judged in taken.files)
        assert verdicts == {Verdict.LEFT: begun, Verdict.NEW: 3000 - begun}


def test_a_run_killed_while_it_lists_a_library_has_taken_nothing_on(
    rushes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as url, TroubledS3(url) as s3:
        for name, value in {**ENVIRON, "AWS_ENDPOINT_URL": s3.url}.items():
            monkeypatch.setenv(name, value)
        for clip in rushes.rglob("*.mp4"):
            Store(f"s3://{BUCKET}", endpoint_url=url).put_file(f"listed/{clip.name}", clip)
        places = {"root": f"s3://{BUCKET}/listed", "mirror": f"s3://{BUCKET}/results"}
        s3.faults.append("swallow")
        other = taking_on(**places, allow=f"s3://{BUCKET}")
        wait_until(s3.swallowing.is_set, "the listing")
        assert "list-type=2" in s3.requests[-1]
        other.kill()
        assert other.wait() == -signal.SIGKILL
        with open_run([], [f"s3://{BUCKET}"]) as run:
            taken = take_on(run, wanted(**places))
            assert [judged.verdict for judged in (*taken.files, *taken.passed_over)] == [Verdict.NEW, Verdict.NEW]


def claimed(folder: Path) -> int:
    """Files of libraries that a run holds."""
    with closing(sqlite3.connect(folder / ".samaflow" / "samaflow.db")) as db:
        (count,) = db.execute("SELECT count(*) FROM library_item WHERE owner_id IS NOT NULL").fetchone()
    return int(count)


def test_an_unknown_style_names_the_field_and_takes_nothing_on(rushes: Path) -> None:
    with open_run([]) as run:
        with pytest.raises(BadRowError, match=r"column 'editor'.*no editor is called 'grad'.*Did you mean 'grade'"):
            take_on(run, wanted(style={**STYLE, "editor": "grad"}))
        with pytest.raises(SettingsError, match=r"mirror: .*outside the allowed folders"):
            take_on(run, wanted(mirror="/elsewhere"))
        with pytest.raises(SettingsError, match=r"mirror: it is the library itself"):
            take_on(run, wanted(mirror="rushes"))
        assert len(take_on(run, wanted()).files) == 2


def test_a_budget_needs_a_price_and_leaves_what_it_does_not_begin(rushes: Path) -> None:
    with open_run([]) as run:
        with pytest.raises(SettingsError, match="a cost needs a price"):
            Budget.of(run.settings, stop_cost=5.0)
        taken = take_on(run, wanted())
        order = take_in(run, taken.manifest(), "library", Path.cwd())
        assert list(Budget(stop=0.0).gate(run, order.rows)) == []
        settle(run, taken)
    with open_run([]) as run:
        assert [judged.verdict for judged in take_on(run, wanted()).files] == [Verdict.LEFT, Verdict.LEFT]


def test_a_library_in_a_bucket_is_done_once_and_what_changes_there_again(
    rushes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as url, TroubledS3(url) as s3:
        for name, value in {**ENVIRON, "AWS_ENDPOINT_URL": s3.url}.items():
            monkeypatch.setenv(name, value)
        bucket = Store(f"s3://{BUCKET}", endpoint_url=url)
        bucket.put_file("rushes/day 1/b.mp4", rushes / "day 1" / "b.mp4")
        places = {"root": f"s3://{BUCKET}/rushes", "mirror": f"s3://{BUCKET}/results"}
        assert restyle(f"s3://{BUCKET}", **places).counts == {"new": 1}
        assert [path.rpartition("/")[0] for path in bucket.list("results")] == ["results/day 1"]
        assert restyle(f"s3://{BUCKET}", **places).counts == {"done": 1}
        bucket.put_file("rushes/day 1/b.mp4", rushes / "a.mp4")
        with open_run([], [f"s3://{BUCKET}"]) as run:
            assert [judged.verdict for judged in take_on(run, wanted(**places)).files] == [Verdict.CHANGED]

        s3.faults.append("denied")
        with pytest.raises(PermanentError, match=r"library s3://samaflow-test/rushes.*permission denied.*check the"):
            restyle(f"s3://{BUCKET}", **places)
        with pytest.raises(SourceError, match=r"library s3://samaflow-test/other.*Check the bucket and the prefix"):
            restyle(f"s3://{BUCKET}", **{**places, "root": f"s3://{BUCKET}/other"})
        with pytest.raises(SourceError, match=r"library s3://nowhere.*no such bucket"):
            restyle("s3://nowhere", root="s3://nowhere/rushes")
