"""The main job as a person runs it: `samaflow edit` on a manifest, killed, repeated, doubled, and read back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, kill_tree, wait_until


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames, a cut at 60, a sound track."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=100, cuts=(60,))


def planes(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def rows_of(clip: Path) -> list[dict[str, object]]:
    return [
        {"source": clip, "instruction": "turn it sepia", "editor": "grade"},
        {"source": clip, "instruction": "leave it", "editor": "passthrough", "deliverable": "ffv1"},
    ]


@dataclass(frozen=True)
class Edited:
    """The folder of one run over `rows_of(clip)`, and what the run said."""

    folder: Folder
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, prefect_url: str, clip: Path) -> Edited:
    folder = Folder(tmp_path_factory.mktemp("edited"), prefect_url)
    folder.manifest(*rows_of(clip))
    return Edited(folder, folder.edit("--allow", str(clip.parent)))


@pytest.fixture
def edited(once: Edited) -> Iterator[Edited]:
    """That run, lent."""
    with once.folder.lent():
        yield once


def test_a_manifest_becomes_verified_deliverables_and_a_report(edited: Edited, clip: Path) -> None:
    summary = edited.summary
    assert [row["state"] for row in summary["rows"]] == ["delivered", "delivered"]
    graded, passed = (Path(row["output"].removeprefix("file://")) for row in summary["rows"])
    assert len(planes(graded)) == 100
    assert packets(graded, "audio") == packets(clip, "audio")
    for mine, theirs in zip(planes(passed), planes(clip), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "sepia" in Path(summary["report"]).read_text(encoding="utf-8")


def test_the_same_manifest_again_is_delivered_already_and_edits_nothing(edited: Edited, clip: Path) -> None:
    folder = edited.folder
    before = {path: path.stat().st_mtime_ns for path in folder.deliverables()}
    summary = folder.edit("--allow", str(clip.parent))
    assert [row["message"] for row in summary["rows"]] == ["delivered already"] * 2
    assert sum(row["chunks_edited"] for row in summary["rows"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.deliverables()} == before


def test_another_instruction_edits_only_its_own_rows_chunks(edited: Edited, clip: Path) -> None:
    first, second = rows_of(clip)
    edited.folder.manifest(first | {"instruction": "make it grayscale"}, second)
    summary = edited.folder.edit("--allow", str(clip.parent))
    assert [row["chunks_edited"] for row in summary["rows"]] == [summary["rows"][0]["chunks"], 0]


def test_two_flows_with_one_manifest_edit_no_chunk_twice(folder: Folder, clip: Path) -> None:
    folder.manifest(*rows_of(clip))
    flows = [folder.start("edit", "manifest.csv", "--allow", str(clip.parent), "--json") for _ in range(2)]
    ends = [flow.communicate(timeout=240) for flow in flows]
    assert [flow.returncode for flow in flows] == [0, 0], ends
    assert len(edited_by_workers(folder)) == len(set(edited_by_workers(folder))) == len(folder.markers())


def edited_by_workers(folder: Folder) -> list[str]:
    """Every chunk that any worker says to have edited, as often as it was."""
    statuses = folder.path.glob(".samaflow/store/dispatches/*/*.status.json")
    return [key for path in statuses for key in json.loads(path.read_text())["edited"]]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_flow_cost_nothing_but_the_chunks_in_work(
    folder: Folder, tmp_path: Path, prefect_url: str
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=56, cuts=(30,))
    row = {"source": clip, "instruction": "paint it", "editor": "sama", "weights": "tiny", "steps": 3}
    undisturbed = Folder(tmp_path / "undisturbed", prefect_url)
    undisturbed.manifest(row)
    whole = undisturbed.edit("--allow", str(tmp_path))

    folder.manifest(row)
    flow = folder.start("edit", "manifest.csv", "--allow", str(tmp_path))
    wait_until(lambda: len(folder.markers()) >= 1, "an edited chunk")
    os.kill(worker_of(flow.pid), signal.SIGKILL)
    before = len(folder.markers())
    wait_until(lambda: len(folder.markers()) > before, "a chunk that another worker edited")
    kill_tree(flow)
    kept = len(folder.markers())
    assert kept < whole["rows"][0]["chunks"], "the flow was killed too late to show anything"
    assert folder.deliverables() == []
    summary = folder.edit("--allow", str(tmp_path))
    assert summary["rows"][0]["chunks_edited"] == whole["rows"][0]["chunks"] - kept
    assert len(edited_by_workers(folder)) == len(set(edited_by_workers(folder)))
    (mine,), (theirs,) = folder.deliverables(), undisturbed.deliverables()
    for kind in ("video", "audio"):
        assert packets(mine, kind) == packets(theirs, kind)


def worker_of(pid: int) -> int:
    family = psutil.Process(pid).children(recursive=True)
    return next(child.pid for child in family if "tasks.gpu" in " ".join(child.cmdline()))


def test_a_job_that_is_cancelled_stops_and_the_others_are_delivered(folder: Folder, clip: Path) -> None:
    slow = {"source": clip, "instruction": "paint it", "editor": "sama", "weights": "tiny", "steps": 200}
    folder.manifest(slow, rows_of(clip)[0])
    flow = folder.start("edit", "manifest.csv", "--allow", str(clip.parent), "--workers", "2", "--json")
    wait_until(lambda: folder.job_in("editing", "sama") != "", "a job in work")
    assert folder.run("cancel", folder.job_in("editing", "sama")).returncode == 0
    flow.communicate(timeout=240)
    assert flow.returncode == 1
    states = {line["editor"]: line["state"] for line in folder.ask("status")["jobs"]}
    assert states == {"sama": "cancelled", "grade": "delivered"}
