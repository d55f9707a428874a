"""A store that somebody or something has damaged: what is broken is made again or said, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Folder:
    """A folder in which one graded clip of two chunks has been delivered."""
    folder = Folder(tmp_path_factory.mktemp("graded"), prefect_url)
    clip = write_clip(folder.path / "clip.mp4", frames=60, cuts=(30,))
    folder.manifest(
        {"source": clip.name, "instruction": "turn it sepia", "editor": "grade", "output": "out/graded.mp4"}
    )
    folder.edit()
    return folder


@pytest.fixture
def done(graded: Folder) -> Iterator[Folder]:
    """That folder, lent."""
    with graded.lent():
        yield graded


def store(folder: Folder, pattern: str) -> Path:
    return next(iter(sorted(folder.path.glob(f".samaflow/store/{pattern}"))))


def only_row(summary: dict[str, list[dict[str, object]]]) -> tuple[object, object]:
    (row,) = summary["rows"]
    return row["state"], row["chunks_edited"]


def test_retry_makes_a_chunk_of_a_delivered_job_anew_and_publishes_it_again(done: Folder) -> None:
    job = done.ask("status")["jobs"][0]["job_id"]
    assert only_row(done.json("retry", job, "--chunks", "1")) == ("delivered", 1)
    assert len(done.markers()) == 2
    assert len(done.markers()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--chunks", "7"), "numbered 0 to 1"),
        (("--shot", "9"), "say what is to be other for shot 9"),
        (("--shot", "9", "--instruction", "saturation 0.5"), "has no shot 9: they are numbered 1 to"),
        (("--seed", "3"), "takes no seed; leave --seed out"),
    ],
)
def test_a_retry_that_means_nothing_is_refused_before_a_server_is_asked(
    done: Folder, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    job = done.ask("status")["jobs"][0]["job_id"]
    monkeypatch.setitem(done.environ, "PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert says in done.ask("retry", job, *arguments, code=2)["error"]["message"]
    assert "no job" in done.ask("retry", "f" * 16, code=2)["error"]["message"]


def test_a_damaged_marker_counts_as_none_and_its_chunk_is_edited_again(done: Folder) -> None:
    store(done, "chunks/*/result.json").write_text("{", encoding="utf-8")
    (done.path / "out" / "graded.mp4").unlink()
    assert only_row(done.edit()) == ("delivered", 1)


def test_a_damaged_chunk_is_found_before_it_is_stitched_and_made_again(done: Folder) -> None:
    chunk = store(done, "chunks/*/output-*.mov")
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(data)
    (done.path / "out" / "graded.mp4").unlink()
    summary = done.edit(code=1)
    assert "damaged" in summary["rows"][0]["message"]
    assert only_row(done.edit()) == ("delivered", 1)


def test_a_lost_input_of_an_edited_chunk_is_cut_from_the_source_again(done: Folder) -> None:
    store(done, "inputs/*/input.mov").unlink()
    (done.path / "out" / "graded.mp4").unlink()
    assert only_row(done.edit()) == ("delivered", 0)


def test_a_store_of_an_older_version_goes_on_without_editing_anything_again(done: Folder) -> None:
    for file in sorted(done.path.glob(".samaflow/store/*/*/*.mov")):
        file.rename(file.with_suffix(".mkv"))
    for marker in done.path.glob(".samaflow/store/chunks/*/result.json"):
        marker.write_text(marker.read_text(encoding="utf-8").replace(".mov", ".mkv"), encoding="utf-8")
    (done.path / "out" / "graded.mp4").unlink()
    assert only_row(done.edit()) == ("delivered", 0)
    assert len(list(done.path.glob(".samaflow/store/inputs/*/input.mov"))) == 2


def test_a_damaged_plan_fails_its_own_row_and_says_so(done: Folder) -> None:
    store(done, "jobs/*/plan.json").write_text("{", encoding="utf-8")
    (done.path / "out" / "graded.mp4").unlink()
    summary = done.edit(code=1)
    assert "plan.json" in summary["rows"][0]["message"]
    assert Path(summary["report"]).is_file()
