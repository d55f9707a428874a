"""A full run recorded on each database: every field that decides pixels is found again from the deliverable alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import sql
from edits import wire
from edits.job import VideoPlan
from edits.lineage import Lineage
from edits.media.records import FrameIndex
from edits.plan import plan_video
from edits.settings import load_settings
from tasks.catalogue import build_catalogue
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder
from tests.integration.test_packets import rewrapped

ROW = {"instruction": "turn it sepia", "editor": "grade", "project": "winter"}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=100, cuts=(60,))


def settings(folder: Folder, **tables: dict[str, object]) -> None:
    """Write the tables as `samaflow.toml`."""
    lines = [
        f"[{table}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items()) for table, keys in tables.items()
    ]
    (folder.path / "samaflow.toml").write_text("\n".join(lines), encoding="utf-8")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def planned_again(lineage: Lineage, folder: Path) -> VideoPlan:
    """The plan, made of what lineage tells and nothing else: its keys hold all that decides pixels."""
    assert lineage.plan is not None
    cuts = [start for start, _ in lineage.plan.shots[1:]]
    told = {**lineage.source.details, "pts": list(range(lineage.source.frames)), "cuts": cuts}
    index = wire.load(FrameIndex, json.dumps(told).encode(), "lineage")
    catalogue = build_catalogue(load_settings(folder, {}, {}))
    return plan_video(lineage.job, index, catalogue[lineage.job.editor].weights[lineage.job.weights])


def test_a_run_is_found_again_from_a_renamed_copy_of_its_deliverable(
    folder: Folder, clip: Path, address: str, tmp_path: Path
) -> None:
    settings(folder, database={"url": address}, executor={"image_digest": "sha256:abcd"}, cost={"gpu_hour": 2.0})
    folder.manifest({"source": clip, **ROW})
    (row,) = folder.edit("--allow", str(clip.parent))["rows"]
    copy = tmp_path / "elsewhere" / "renamed.mp4"
    copy.parent.mkdir()
    copy.write_bytes(folder.deliverables()[0].read_bytes())

    found = folder.ask("lineage", str(copy))
    assert found["sha256"] == sha256(copy)
    job, origin = found["job"], found["origin"]
    assert (job["job_id"], job["instruction"], job["project"]) == (row["job_id"], "turn it sepia", "winter")
    assert (job["start"], job["end"], job["seed"], job["detail"], job["deliverable"]) == (0, 100, 0, "tone", "h264")
    assert (found["source"]["sha256"], found["source"]["frames"]) == (sha256(clip), 100)
    assert found["plan"]["shots"] == [[0, 60], [60, 100]]
    assert len(found["chunks"]) == row["chunks"]
    assert all(chunk["input_sha256"] and chunk["editor_version"] for chunk in found["chunks"])
    assert "libx264" in found["encoding"]
    assert (origin["flow"], origin["image_digest"]) == ("edit-manifest", "sha256:abcd")
    assert origin["flow_run_id"]
    assert "@" in origin["submitted_by"]
    assert origin["settings"]["encoder_threads"] == 4
    assert origin["packages"]["numpy"]
    assert found["code_version"].startswith("0.1.0")
    lineage = wire.load(Lineage, json.dumps(found).encode(), "lineage")
    again = planned_again(lineage, folder.path)
    assert [chunk.chunk_key for chunk in again.chunks] == [chunk.chunk_key for chunk in lineage.chunks]
    assert all(check["passed"] for check in found["checks"])
    assert found["checks"]

    (usage,) = folder.ask("usage")
    assert (usage["project"], usage["editor"], usage["chunks"]) == ("winter", "grade", row["chunks"])
    assert usage["cost"] == pytest.approx(2 * usage["gpu_hours"])
    assert [file["job_id"] for file in folder.ask("lineage", "--source", str(clip))] == [row["job_id"]]
    assert [file["sha256"] for file in folder.ask("lineage", "--model", "grade")["files"]] == [sha256(copy)]
    assert folder.ask("failures") == []
    assert {line["state"] for line in folder.ask("times")} >= {"splitting", "editing", "stitching", "checking"}
    assert folder.ask("stuck") == {"jobs": [], "dispatches": []}
    db = sql.open_database(address)
    assert sql.manifest_content(db, job["manifest_id"]) == (folder.path / "manifest.csv").read_bytes()
    db.close()


def test_a_rewrapped_file_is_found_by_its_video_packets(library: Folder, tmp_path: Path) -> None:
    made = library.deliverables()[0]
    other = rewrapped(made, tmp_path / "rewrapped.mov")
    done = library.run("lineage", str(other), "--json")
    assert json.loads(done.stdout)["sha256"] == sha256(made)
    assert "found by its video packets" in done.stderr
    library.ask("lineage", str(library.path / "clip.mp4"), code=2)
