"""OpenLineage: one run a video, START and then COMPLETE, FAIL or ABORT; off unless it is asked for."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder

GRADE = {"instruction": "turn it sepia", "editor": "grade", "project": "winter"}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=30)


def configured(folder: Folder, *, events: bool = True) -> Path:
    """Events go to a file; its path."""
    log = folder.path / "events.jsonl"
    (folder.path / "openlineage.yml").write_text(f"transport:\n  type: file\n  log_file_path: {log}\n  append: true\n")
    (folder.path / "samaflow.toml").write_text(f"[openlineage]\nevents = {str(events).lower()}\n")
    return log


def events_in(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_delivered_and_a_failed_video_are_two_runs_with_their_datasets(folder: Folder, clip: Path) -> None:
    log = configured(folder)
    (folder.path / "deliverables").mkdir()
    taken = folder.path / "deliverables" / "taken.mp4"
    taken.write_text("not ours")
    folder.manifest({"source": clip, **GRADE}, {"source": clip, **GRADE, "output": str(taken)})
    folder.edit("--allow", str(clip.parent), code=1)
    runs: dict[str, list[dict[str, Any]]] = {}
    for event in events_in(log):
        runs.setdefault(event["run"]["runId"], []).append(event)
    assert sorted([event["eventType"] for event in events] for events in runs.values()) == [
        ["START", "COMPLETE"],
        ["START", "FAIL"],
    ]
    done = next(events[1] for events in runs.values() if events[1]["eventType"] == "COMPLETE")
    lineage = folder.json("lineage", str(next(p for p in folder.deliverables() if p != taken)))
    assert done["inputs"][0]["facets"]["version"]["datasetVersion"] == lineage["source"]["sha256"]
    assert done["outputs"][0]["facets"]["version"]["datasetVersion"] == lineage["sha256"]
    facet = done["run"]["facets"]["samaflow_edit"]
    assert (facet["job_id"], facet["project"], facet["instruction"]) == (lineage["job"]["job_id"], "winter", "")
    assert done["run"]["facets"]["parent"]["run"]["runId"] == lineage["origin"]["flow_run_id"]
    failed = next(events[1] for events in runs.values() if events[1]["eventType"] == "FAIL")
    assert "is there already" in failed["run"]["facets"]["errorMessage"]["message"]


def test_nothing_is_sent_unless_asked_for_and_a_dead_receiver_harms_no_job(folder: Folder, clip: Path) -> None:
    log = configured(folder, events=False)
    folder.manifest({"source": clip, **GRADE})
    folder.edit("--allow", str(clip.parent))
    assert not log.exists()
    configured(folder)
    (folder.path / "openlineage.yml").write_text("transport:\n  type: http\n  url: http://127.0.0.1:9\n")
    folder.manifest({"source": clip, **GRADE, "instruction": "make it grayscale"})
    (row,) = folder.edit("--allow", str(clip.parent))["rows"]
    assert row["state"] == "delivered"


def test_lineage_is_exported_as_openlineage_and_as_csv(folder: Folder, clip: Path) -> None:
    folder.manifest({"source": clip, **GRADE})
    (row,) = folder.edit("--allow", str(clip.parent))["rows"]
    (event,) = map(json.loads, folder.run("export").stdout.splitlines())
    assert (event["eventType"], event["job"]["name"]) == ("COMPLETE", "edit-video.grade")
    table = list(csv.DictReader(io.StringIO(folder.run("export", row["job_id"], "--format", "csv").stdout)))
    assert [(line["job_id"], line["project"], line["instruction"]) for line in table] == [
        (row["job_id"], "winter", "")
    ] * row["chunks"]
    assert [int(line["start"]) for line in table] == sorted(int(line["start"]) for line in table)
    assert folder.run("export", "ffff").returncode == 2
