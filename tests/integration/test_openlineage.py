"""OpenLineage: one run a video, START and then COMPLETE, FAIL or ABORT; off unless it is asked for."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.fakes.clips import write_clip
from tests.fakes.command import Folder

Event = dict[str, Any]


def runs_in(log: Path) -> dict[str, list[Event]]:
    """The events by run, in the order in which they were sent."""
    runs: dict[str, list[Event]] = defaultdict(list)
    for line in log.read_text().splitlines():
        event = json.loads(line)
        runs[event["run"]["runId"]].append(event)
    return runs


def the_one(runs: dict[str, list[Event]], editor: str, ending: str) -> Event:
    (found,) = (e for events in runs.values() for e in events if (e["job"]["name"], e["eventType"]) == (editor, ending))
    return found


def test_each_video_is_a_run_with_a_start_and_an_end(library: Folder) -> None:
    runs = runs_in(library.path / "events.jsonl")
    told = sorted([event["eventType"] for event in events] for events in runs.values())
    assert told == [["START", "COMPLETE"], ["START", "COMPLETE"], ["START", "FAIL"]]


def test_what_was_delivered_is_told_with_its_datasets_and_their_versions(library: Folder) -> None:
    event = the_one(runs_in(library.path / "events.jsonl"), "edit-video.grade", "COMPLETE")
    lineage = library.ask("lineage", str(library.deliverables()[0]))
    assert event["inputs"][0]["facets"]["version"]["datasetVersion"] == lineage["source"]["sha256"]
    assert event["outputs"][0]["facets"]["version"]["datasetVersion"] == lineage["sha256"]
    facet = event["run"]["facets"]["samaflow_edit"]
    assert (facet["job_id"], facet["project"], facet["instruction"]) == (lineage["job"]["job_id"], "winter", "")
    assert event["run"]["facets"]["parent"]["run"]["runId"] == lineage["origin"]["flow_run_id"]


def test_a_failure_is_told_with_its_message(library: Folder) -> None:
    event = the_one(runs_in(library.path / "events.jsonl"), "edit-video.grade", "FAIL")
    assert "is there already" in event["run"]["facets"]["errorMessage"]["message"]


def test_lineage_is_exported_as_openlineage_and_as_csv(library: Folder) -> None:
    events = [json.loads(line) for line in library.run("export").stdout.splitlines()]
    assert [event["eventType"] for event in events] == ["COMPLETE", "COMPLETE"]
    assert {event["job"]["name"] for event in events} == {"edit-video.grade", "edit-video.passthrough"}
    job_id = library.ask("lineage", str(library.deliverables()[0]))["job"]["job_id"]
    table = list(csv.DictReader(io.StringIO(library.run("export", job_id, "--format", "csv").stdout)))
    assert [(line["job_id"], line["instruction"]) for line in table] == [(job_id, "")] * 2
    assert [(line["start"], line["end"]) for line in table] == [("0", "30"), ("30", "50")]


def test_a_dead_receiver_and_credentials_that_are_off_harm_no_job(folder: Folder) -> None:
    """Two settings that have nothing to do with one another, in one run."""
    clip = write_clip(folder.path / "clip.mp4", frames=20)
    (folder.path / "samaflow.toml").write_text("[openlineage]\nevents = true\n[credentials]\nsign = false\n")
    (folder.path / "openlineage.yml").write_text("transport:\n  type: http\n  url: http://127.0.0.1:9\n")
    folder.manifest({"source": clip, "instruction": "turn it sepia", "editor": "grade"})
    (row,) = folder.edit()["rows"]
    assert row["state"] == "delivered"
    (made,) = folder.deliverables()
    assert folder.ask("verify", str(made), code=1)["state"] == "none"
    assert folder.ask("lineage", str(made))["credentials"] == "none: turned off by [credentials] sign = false"
    assert folder.ask("status", row["job_id"])["events"][-1]["reason"].endswith("without content credentials")
