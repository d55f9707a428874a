"""Where things lie: a store and deliverables on S3, a disk that fills up, Prefect's own embedded server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import sql
from edits.errors import DatabaseError
from edits.storage import Store
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, wait_until
from tests.fakes.recorded import library, recorded_job
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=100, cuts=(60,))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_source_store_and_deliverable_may_lie_on_s3(
    folder: Folder, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with s3_server() as url:
        bucket = Store(f"s3://{BUCKET}", endpoint_url=url)
        bucket.put_file("dailies/clip.mp4", clip)
        folder.environ |= {**ENVIRON, "SAMAFLOW_ENDPOINT_URL": url}
        row = {"instruction": "turn it sepia", "editor": "grade", "output": f"s3://{BUCKET}/out/graded.mp4"}
        folder.manifest({"source": f"s3://{BUCKET}/dailies/clip.mp4", **row})
        places = ("--allow", f"s3://{BUCKET}", "--store", f"s3://{BUCKET}/store")
        summary = folder.edit(*places)
        assert summary["rows"][0]["state"] == "delivered"
        assert bucket.size("out/graded.mp4")
        bucket.put_file("dailies/manifest.csv", folder.path / "manifest.csv")
        manifest = f"s3://{BUCKET}/dailies/manifest.csv"
        (planned,) = folder.json("plan", manifest, *places)["rows"]
        assert planned["chunks_missing"] == 0
        assert folder.edit(*places, name=manifest)["rows"][0]["message"] == "delivered already"


def test_a_full_disk_loses_nothing_and_publishes_nothing_half(folder: Folder, clip: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 1_000_000)
    row = {"source": clip, "instruction": "turn it sepia", "editor": "grade", "output": small_disk / "graded.mp4"}
    folder.manifest(row)
    places = ("--allow", str(clip.parent), "--allow", str(small_disk))
    summary = folder.edit(*places, code=1)
    assert "space" in summary["rows"][0]["message"]
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    summary = folder.edit(*places)
    assert (summary["rows"][0]["state"], summary["rows"][0]["chunks_edited"]) == ("delivered", 0)


def test_a_store_on_a_full_disk_is_said_and_the_run_ends(folder: Folder, clip: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 1_000_000)
    folder.manifest({"source": clip, "instruction": "turn it sepia", "editor": "grade"})
    summary = folder.edit("--allow", str(clip.parent), "--store", f"file://{small_disk}/store", code=1)
    assert "space" in summary["rows"][0]["message"] or "full" in summary["rows"][0]["message"]
    assert folder.deliverables() == []


def test_a_database_on_a_full_disk_is_said_and_goes_on_when_there_is_room_again(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/samaflow.db"
    library(url).close()
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    with pytest.raises(DatabaseError, match="the disk is full: free some space, then run the same command again"):
        sql.open_database(url, patience=60)
    (small_disk / "filler").unlink()
    db = sql.open_database(url)
    recorded_job(db)
    db.close()


@pytest.mark.slow
def test_ctrl_c_cancels_and_the_same_command_goes_on_with_a_prefect_server_of_its_own(
    folder: Folder, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=56, cuts=(30,))
    slow = {"source": clip, "instruction": "paint it", "editor": "sama", "weights": "tiny", "steps": 3}
    folder.manifest(slow)
    # As on a terminal: the signal goes to everything in the group.
    del folder.environ["PREFECT_API_URL"], folder.environ["PREFECT_HOME"]
    flow = folder.start("edit", "manifest.csv", "--allow", str(clip.parent), new_session=True)
    wait_until(lambda: len(folder.markers()) >= 1, "an edited chunk", 240)
    os.killpg(flow.pid, signal.SIGINT)
    _, err = flow.communicate(timeout=60)
    assert flow.returncode == 130, err
    assert "Traceback" not in err
    assert {line["state"] for line in folder.ask("status")["jobs"]} == {"cancelled"}
    kept = len(folder.markers())
    (row,) = folder.edit("--allow", str(clip.parent))["rows"]
    assert (row["state"], row["chunks_edited"]) == ("delivered", row["chunks"] - kept)


@pytest.mark.slow
def test_ctrl_c_while_stitching_cancels_and_sigterm_loses_nothing(folder: Folder, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", frames=300, size=(640, 384))
    folder.manifest({"source": long, "instruction": "turn it sepia", "editor": "grade"})

    def stopped(number: int) -> tuple[int, str, str]:
        flow = folder.start("edit", "manifest.csv", "--allow", str(tmp_path), new_session=True)
        wait_until(lambda: folder.job_in("stitching", "grade") != "", "a job that is stitched")
        os.killpg(flow.pid, number)
        _, err = flow.communicate(timeout=60)
        (job,) = folder.ask("status")["jobs"]
        return flow.returncode, err, job["state"]

    code, err, state = stopped(signal.SIGINT)
    assert (code, state) == (130, "cancelled"), err
    assert "Traceback" not in err
    code, err, state = stopped(signal.SIGTERM)
    assert code == 143
    assert state in ("stitching", "checking", "delivered"), err
    assert "goes on from there" in err
    assert "Traceback" not in err
    summary = folder.edit("--allow", str(tmp_path))
    assert (summary["rows"][0]["state"], summary["rows"][0]["chunks_edited"]) == ("delivered", 0)
