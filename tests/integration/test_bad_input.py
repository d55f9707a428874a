"""What a person gets for a mistake: one clear sentence with what to do, the right exit code, nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder

GOOD = {"instruction": "turn it sepia", "editor": "grade"}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A folder of files that are no whole videos."""
    folder = tmp_path_factory.mktemp("broken")
    whole = write_clip(folder / "whole.mkv", frames=96)
    (folder / "text.mp4").write_text("this is not a video\n", encoding="utf-8")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    return folder


def test_bad_rows_are_all_reported_and_good_rows_run(folder: Folder, clip: Path, broken: Path) -> None:
    rows = [
        {"source": clip, **GOOD},
        {"source": "missing.mp4", **GOOD},
        *({"source": broken / name, **GOOD} for name in ("text.mp4", "empty.mp4", "cut.mp4", "cut.mkv")),
        {"source": clip, **GOOD, "instruction": " "},
        {"source": clip, **GOOD, "instruction": "add a hat"},
        {"source": clip, **GOOD, "start": "f20", "end": "f10"},
        {"source": clip, **GOOD, "end": "f4000"},
        {"source": clip, **GOOD, "editor": "grde"},
        {"source": clip, **GOOD, "weights": "huge"},
        {"source": clip, **GOOD, "deliverable": "h263"},
    ]
    folder.manifest(*rows)
    summary = folder.edit("--allow", str(clip.parent), "--allow", str(broken), code=1)
    said = {row["line"]: row["message"] for row in summary["rows"]}
    assert len(summary["rows"]) == len(rows)
    assert [row["line"] for row in summary["rows"] if row["state"] == "delivered"] == [2]
    status = folder.ask("status")
    assert (status["counts"], status["rows_refused"]) == ({"delivered": 1}, len(rows) - 1)
    for line, word in {
        3: "missing.mp4",
        4: "text.mp4",
        5: "empty.mp4",
        6: "cut.mp4",
        7: "cut.mkv",
        8: "instruction",
        9: "sepia",
        10: "end",
        11: "48",
        12: "grade",
        13: "weights",
        14: "h264",
    }.items():
        assert word in said[line], said[line]
    assert len(folder.deliverables()) == 1
    counted = {cause["category"]: cause["count"] for cause in folder.ask("failures") if cause["subject"] == "row"}
    assert sum(counted.values()) == len(rows) - 1


def test_a_file_that_is_not_ours_is_never_overwritten_unless_asked(folder: Folder, clip: Path) -> None:
    theirs = folder.path / "theirs.mp4"
    theirs.write_bytes(b"precious")
    folder.manifest({"source": clip, **GOOD, "output": "theirs.mp4"})
    summary = folder.edit("--allow", str(clip.parent), code=1)
    assert "--overwrite" in summary["rows"][0]["message"]
    assert theirs.read_bytes() == b"precious"
    folder.edit("--allow", str(clip.parent), "--overwrite")
    assert theirs.read_bytes() != b"precious"


def test_two_rows_with_one_output_are_refused(folder: Folder, clip: Path) -> None:
    row = {"source": clip, **GOOD, "output": "same.mp4"}
    folder.manifest(row, row | {"instruction": "make it grayscale"})
    summary = folder.edit("--allow", str(clip.parent), code=1)
    assert summary["rows"][0]["state"] == "delivered"
    assert "line 2" in summary["rows"][1]["message"]


def test_a_source_outside_the_allowed_folders_is_refused(folder: Folder, clip: Path) -> None:
    (folder.path / "link.mp4").symlink_to(clip)
    places = [str(clip), f"file://{clip}", os.path.relpath(clip, folder.path), "link.mp4", "http://example.com/a.mp4"]
    folder.manifest(*({"source": place, **GOOD} for place in places))
    summary = folder.edit(code=1)
    assert [row["state"] for row in summary["rows"]] == ["failed"] * len(places)
    assert all("--allow" in row["message"] or "scheme" in row["message"] for row in summary["rows"]), summary["rows"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02\x03" * 100, "manifest"),
        (b"source,instruction\n", "rows"),
        (b"source,instruktion\na,b\n", "instruction"),
        (b"source,instruction\n" + b"a" * 200_000_000, "manifest"),
    ],
    ids=["empty", "binary", "no rows", "misspelt column", "200 MB of one line"],
)
def test_an_unusable_manifest_ends_with_exit_code_2(folder: Folder, content: bytes, word: str) -> None:
    (folder.path / "manifest.csv").write_bytes(content)
    done = folder.run("edit", "manifest.csv")
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.deliverables() == []


def test_a_manifest_that_is_not_there_ends_with_exit_code_2(folder: Folder) -> None:
    done = folder.run("edit", "nowhere.csv")
    assert (done.returncode, "nowhere.csv" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_an_output_folder_that_cannot_be_written_is_found_before_any_work(folder: Folder, clip: Path) -> None:
    (folder.path / "file").write_text("a file, not a folder", encoding="utf-8")
    folder.manifest({"source": clip, **GOOD, "output": "file/result.mp4"})
    summary = folder.edit("--allow", str(clip.parent), code=1)
    assert "file" in summary["rows"][0]["message"]
    assert folder.markers() == set()


def test_the_plan_refuses_what_an_edit_would_with_one_entry_a_row(folder: Folder, clip: Path) -> None:
    for name in ("theirs.mp4", "file"):
        (folder.path / name).write_text("not ours", encoding="utf-8")
    before = sorted(folder.path.iterdir())
    folder.manifest(
        {"source": clip, **GOOD},
        {"source": clip, **GOOD, "output": "theirs.mp4"},
        {"source": clip, **GOOD, "output": "file/result.mp4"},
        {"source": "missing.mp4", **GOOD},
        {"source": clip, "editor": "grade", "start": "12", "end": "x", "seed": "-"},
    )
    allow = ("--allow", str(clip.parent), "--quick")
    rows = folder.ask("plan", "manifest.csv", *allow, code=1)["rows"]
    assert [row["line"] for row in rows] == [2, 3, 4, 5, 6]
    assert [bool(row["error"]) for row in rows] == [False, True, True, True, True]
    assert rows[1]["error"].startswith("line 3, column 'output', value 'theirs.mp4': ")
    assert "a file is there already (not made by samaflow)" in rows[1]["error"]
    assert "file: is a file, not a folder" in rows[2]["error"]
    assert [[error["column"] for error in row["errors"]] for row in rows[1:4]] == [["output"], ["output"], ["source"]]
    assert {error["column"] for error in rows[4]["errors"]} == {"instruction", "start", "end", "seed"}
    allowed = folder.ask("plan", "manifest.csv", *allow, "--overwrite", code=1)["rows"]
    assert [row["error"] == "" for row in allowed] == [True, True, False, False, False]
    made = {path.name for path in folder.path.iterdir()} - {path.name for path in before}
    assert made <= {"manifest.csv", ".samaflow", ".prefect"}
