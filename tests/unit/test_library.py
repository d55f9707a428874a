"""What a scan of a library sees, and what is decided about each file: by size and time, by digest only in doubt."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edits.errors import SettingsError, SourceError
from edits.job import JobState
from edits.library import LibraryFile, Order, Patterns, scan
from edits.survey import Judged, Known, Verdict, survey
from edits.trust import file_uri

ALL = Patterns(["*.mp4"])


def names(root: Path, patterns: Patterns = ALL, avoid: tuple[Path, ...] = ()) -> list[str]:
    listing = scan(file_uri(root), patterns, [file_uri(folder) for folder in avoid])
    return sorted(file.folder + file.uri.rpartition("/")[2] for file in listing.files)


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"video")


def test_a_scan_finds_matching_files_in_all_folders_but_hidden_and_avoided_ones(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "B.MP4", "day/b.mp4", "day/notes.txt", ".hidden/c.mp4", "day/.d.mp4", "results/e.mp4")
    assert names(tmp_path, avoid=(tmp_path / "results",)) == ["B.MP4", "a.mp4", "day/b.mp4"]


def test_a_pattern_with_a_slash_is_held_against_the_path_and_others_against_the_name(tmp_path: Path) -> None:
    touch(tmp_path, "day/a.mp4", "day/x/b.mp4", "night/a.mp4")
    assert names(tmp_path, Patterns(["day/*.mp4"])) == ["day/a.mp4", "day/x/b.mp4"]
    assert names(tmp_path, Patterns(["*.mp4"], ["day/*", "a.*"])) == []


def test_links_to_folders_are_not_followed_and_links_to_nowhere_are_no_files(tmp_path: Path) -> None:
    touch(tmp_path, "day/a.mp4")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert names(tmp_path) == ["day/a.mp4"]


def test_a_name_that_is_no_utf8_is_found_and_addressed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.mp4", "wb") as file:
        file.write(b"video")
    assert names(tmp_path) == ["%FF.mp4"]


def test_a_library_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"library .*/gone: cannot be listed.*Mount the disk"):
        scan(file_uri(tmp_path / "gone"), ALL, [])


def test_no_pattern_and_an_empty_one_are_refused() -> None:
    for patterns in ([], ["*.mp4", " "]):
        with pytest.raises(SettingsError, match="patterns"):
            Patterns(patterns)


def test_thousands_of_files_are_listed_in_seconds_without_opening_one(tmp_path: Path) -> None:
    for folder in range(40):
        (tmp_path / str(folder)).mkdir()
        for number in range(100):
            os.mknod(tmp_path / str(folder) / f"{number}.mp4", 0o000 | 0o100000)
    began = time.monotonic()
    assert len(scan(file_uri(tmp_path), ALL, []).files) == 4_000
    assert time.monotonic() - began < 2.4  # 100,000 in a minute.


# -- verdicts ---------------------------------------------------------------------------------------------------------

FILE = LibraryFile("file:///library/a.mp4", "", 100, "t1", 1.0)


def known(**changes: object) -> Known:
    facts: dict[str, object] = {
        "size": 100, "mark": "t1", "sha256": "abc", "job_id": "feed", "state": JobState.DELIVERED, "message": "",
        "transient": False, "held": False,
    }  # fmt: skip
    return Known(**{**facts, **changes})  # type: ignore[arg-type]


def never(file: LibraryFile) -> str:
    raise AssertionError(f"{file.uri} was read")


def judge(entry: Known | None, *, retry_failed: bool = False) -> Judged:
    entries = {} if entry is None else {FILE.uri: entry}
    (judged,) = survey([FILE], entries, Order.NAME, 10, never, retry_failed=retry_failed)
    return judged


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        (None, Verdict.NEW),
        (known(), Verdict.DONE),
        (known(size=99), Verdict.CHANGED),
        (known(held=True), Verdict.ELSEWHERE),
        (known(state=JobState.AWAITING_REVIEW), Verdict.REVIEW),
        (known(state=JobState.CANCELLED), Verdict.CANCELLED),
        (known(state=JobState.FAILED, message="torn"), Verdict.FAILED),
        (known(state=JobState.FAILED, message="no space", transient=True), Verdict.AGAIN),
        (known(state=None, sha256="", job_id="", message="no video"), Verdict.FAILED),
        (known(state=None, sha256="", job_id=""), Verdict.LEFT),
        (known(state=JobState.EDITING), Verdict.LEFT),
        (known(mark="t0", sha256="", state=None), Verdict.CHANGED),
    ],
)
def test_a_file_is_judged_by_what_is_recorded_without_reading_it(entry: Known | None, verdict: Verdict) -> None:
    assert judge(entry).verdict == verdict


def test_failures_and_cancelled_files_are_tried_again_when_asked_for() -> None:
    for state in (JobState.FAILED, JobState.FAILED_QC, JobState.CANCELLED):
        assert judge(known(state=state, message="why"), retry_failed=True).verdict is Verdict.AGAIN


@pytest.mark.parametrize(("digest", "verdict"), [("abc", Verdict.SAME), ("other", Verdict.CHANGED)])
def test_another_time_with_the_same_size_is_settled_by_the_digest(digest: str, verdict: Verdict) -> None:
    (judged,) = survey([FILE], {FILE.uri: known(mark="t0")}, Order.NAME, 10, lambda file: digest)
    assert judged.verdict is verdict


def test_beyond_the_limit_files_are_put_off_and_nothing_is_read_for_them() -> None:
    files = [LibraryFile(f"file:///{number}.mp4", "", 100, "t1", float(number)) for number in range(5)]
    entries = {files[0].uri: known(), files[1].uri: known(mark="t0")}
    verdicts = {each.file.uri: each.verdict for each in survey(files, entries, Order.NEWEST, 2, never)}
    assert [verdicts[file.uri] for file in files] == [
        Verdict.DONE,
        Verdict.LATER,
        Verdict.LATER,
        Verdict.NEW,
        Verdict.NEW,
    ]


@pytest.mark.parametrize(
    ("order", "first"),
    [("newest", "c"), ("oldest", "a"), ("name", "a"), ("smallest", "b"), ("largest", "c")],
)
def test_the_order_says_whose_turn_is_first(order: str, first: str) -> None:
    files = [
        LibraryFile("file:///a", "", 20, "", 1.0),
        LibraryFile("file:///b", "", 10, "", 2.0),
        LibraryFile("file:///c", "", 30, "", 3.0),
    ]
    assert next(survey(files, {}, Order(order), 9, never)).file.uri == f"file:///{first}"
