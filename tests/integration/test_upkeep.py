"""Pruning, recovering and reproducing on a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder

ROWS = (
    {"instruction": "turn it sepia", "editor": "grade"},
    {"instruction": "leave it", "editor": "passthrough", "deliverable": "ffv1"},
)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=100, cuts=(60,))


def delivered(folder: Folder, clip: Path, *rows: dict[str, object]) -> list[dict[str, Any]]:
    folder.manifest(*({"source": clip, **row} for row in rows or ROWS))
    found: list[dict[str, Any]] = folder.edit("--allow", str(clip.parent))["rows"]
    return found


def store_files(folder: Folder, part: str) -> list[Path]:
    return sorted(path for path in (folder.path / ".samaflow/store" / part).rglob("*") if path.is_file())


def test_pruning_says_first_what_it_would_do_and_removes_markers_with_their_files(folder: Folder, clip: Path) -> None:
    rows = delivered(folder, clip)
    before = store_files(folder, "chunks"), store_files(folder, "inputs")
    assert folder.json("prune", "--older-than", "0")["chunks"] == []
    forecast = folder.json("prune", "--older-than", "0", "--delivered")
    assert (forecast["removed"], len(forecast["chunks"])) == (False, sum(row["chunks"] for row in rows))
    assert (store_files(folder, "chunks"), store_files(folder, "inputs")) == before
    done = folder.json("prune", "--older-than", "0", "--delivered", "--yes")
    assert (done["removed"], len(done["chunks"])) == (True, len(forecast["chunks"]))
    assert (store_files(folder, "chunks"), store_files(folder, "inputs")) == ([], [])
    assert len(folder.json("lineage", str(folder.deliverables()[0]))["chunks"]) > 0
    again = folder.edit("--allow", str(clip.parent))
    assert [row["message"] for row in again["rows"]] == ["delivered already"] * 2


def test_a_lost_database_is_rebuilt_from_the_store_and_the_manifest_is_delivered_already(
    folder: Folder, clip: Path
) -> None:
    rows = delivered(folder, clip)
    before = folder.json("lineage", str(folder.deliverables()[0]))
    usage = folder.json("usage")
    for left in (folder.path / ".samaflow").glob("samaflow.db*"):
        left.unlink()
    assert folder.run("lineage", str(folder.deliverables()[0])).returncode == 2
    for _ in range(2):
        found = folder.json("recover")
        assert (found["jobs"], found["deliverables"], found["unreadable"]) == (2, 2, [])
        assert found["chunks_done"] == sum(row["chunks"] for row in rows)
    after = folder.json("lineage", str(folder.deliverables()[0]))
    for same in ("job", "plan", "streams", "sha256", "uri", "encoding", "code_version", "chunks"):
        assert after[same] == before[same], same
    assert [line["chunks"] for line in folder.json("usage")] == [line["chunks"] for line in usage]
    assert folder.json("status")["counts"] == {"delivered": 2}
    again = folder.edit("--allow", str(clip.parent))
    assert [row["message"] for row in again["rows"]] == ["delivered already"] * 2


def test_an_object_that_is_no_record_is_named_and_the_rest_is_recovered(folder: Folder, clip: Path) -> None:
    delivered(folder, clip)
    plan = store_files(folder, "jobs")
    broken = next(path for path in plan if path.name == "plan.json")
    broken.write_text("{}")
    shutil.rmtree(folder.path / ".samaflow/prefect", ignore_errors=True)
    for left in (folder.path / ".samaflow").glob("samaflow.db*"):
        left.unlink()
    found = folder.json("recover")
    assert found["jobs"] == 1
    assert broken.parent.name in found["unreadable"][0]


def test_a_deliverable_is_reproduced_packet_by_packet(folder: Folder, clip: Path) -> None:
    delivered(folder, clip, ROWS[1])
    found = folder.json("reproduce", str(folder.deliverables()[0]), "--allow", str(clip.parent))
    assert (found["identical"], found["streams"], found["chunks"], found["differences"]) == (True, [], [], [])
    assert len(folder.deliverables()) == 1
    assert len(folder.json("status")["jobs"]) == 1


def test_what_was_otherwise_is_named(folder: Folder, clip: Path) -> None:
    """A package's version and a stream's digest, forged in the record."""
    (row,) = delivered(folder, clip, ROWS[0])
    import sqlite3

    raw = sqlite3.connect(folder.path / ".samaflow/samaflow.db")
    with raw:
        raw.execute("UPDATE environment SET packages = json_set(packages, '$.numpy', '0.0.1')")
        forged = "UPDATE artifact SET details = json_set(details, '$.streams[0].sha256', ?) WHERE kind = 'deliverable'"
        raw.execute(forged, ("0" * 64,))
    raw.close()
    found = folder.json("reproduce", row["job_id"], "--allow", str(clip.parent), code=1)
    assert not found["identical"]
    assert [difference["what"] for difference in found["streams"]] == ["stream 0 (video)"]
    assert "package numpy" in {difference["what"] for difference in found["differences"]}
    assert json.dumps(found["differences"]).count("0.0.1") == 1


def test_a_source_that_is_gone_cannot_be_reproduced_and_says_so(folder: Folder, clip: Path, tmp_path: Path) -> None:
    own = shutil.copy(clip, tmp_path / "own.mp4")
    (row,) = delivered(folder, Path(own), ROWS[0])
    Path(own).unlink()
    done = folder.run("reproduce", row["job_id"], "--allow", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be made again now" in done.stderr
