"""What a producer does, in a real browser: find the form, fill it, watch the run, look at its review, decide."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Screen, Service, others
from tests.fakes.clips import write_clip
from tests.fakes.command import wait_until
from tests.fakes.prefect_server import free_port

pytestmark = pytest.mark.browser

RUN_SECONDS = 240
"""A flow run takes most of a minute to begin where many share the processors."""
FAILS_WITHIN = 5.0
"""Seconds from a run's beginning until it says what is wrong with what it was given, on a machine of its own."""


def open_form(screen: Screen, service: Service, deployment: str) -> None:
    page = screen.page
    page.goto(f"{service.ui}/deployments")
    page.get_by_text(deployment, exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    expect(page.get_by_text("Parameters", exact=True).first).to_be_visible()


def field(screen: Screen, title: str) -> Locator:
    """The form's field of that title."""
    name = screen.page.locator(".schema-form-property__label").get_by_text(re.compile(rf"^{title}( \(Optional\))?$"))
    return screen.page.locator(".p-label", has=name).last


def fill(screen: Screen, title: str, text: str) -> None:
    field(screen, title).locator("textarea, input").first.fill(text)


def choose(screen: Screen, title: str, word: str) -> None:
    """Pick a word of an enumeration, as with the keyboard: the list opens with a field to search in."""
    field(screen, title).locator("button.p-select-button__control").focus()
    screen.page.keyboard.press("ArrowDown")
    screen.page.locator(".p-select-options input").fill(word)
    screen.page.locator(".p-select-option", has_text=word).first.click()


def submit(screen: Screen, service: Service) -> str:
    """Submit the form; returns the id of the run that it makes."""
    known = newest_run(service)
    screen.page.get_by_role("button", name="Submit").click()
    wait_until(lambda: newest_run(service) != known, "the run to be made", RUN_SECONDS)
    return newest_run(service)


def submit_and_watch(screen: Screen, service: Service, state: str) -> None:
    """Submit the form, go to its run, and see it end in `state`."""
    run = submit(screen, service)
    screen.page.goto(f"{service.ui}/runs/flow-run/{run}")
    expect(screen.page.locator(".state-badge").first).to_have_text(state, timeout=RUN_SECONDS * 1000)


def newest_run(service: Service) -> str:
    """Id of the flow run that was made last by hand; empty before the first."""
    now = datetime.now(UTC).isoformat()
    due = {"expected_start_time": {"before_": now}}  # schedules have a hundred more in store
    asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": 50, "flow_runs": due}
    runs = [run for run in prefect(service, "flow_runs/filter", asked) if not run["auto_scheduled"]]
    return str(runs[0]["id"]) if runs else ""


def prefect(service: Service, path: str, asked: object = None, method: str = "") -> Any:
    """What Prefect's API answers."""
    data = None if asked is None else json.dumps(asked).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{service.ui}/api/{path}", data, headers, method=method or None)
    text = read(request)
    return json.loads(text) if text else None


def read(url: str | urllib.request.Request) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def jobs(service: Service) -> list[dict[str, str]]:
    found: list[dict[str, str]] = service.folder.ask("status")["jobs"]
    return found


def deliverables(service: Service) -> list[Path]:
    return service.folder.deliverables()


def test_a_video_is_edited_from_the_form_and_approved_after_its_review(screen: Screen, service: Service) -> None:
    page = screen.page
    page.goto(f"{service.ui}/deployments")
    expect(page.get_by_text("restyle-library").first).to_be_visible()
    screen.shoot("deployments")
    open_form(screen, service, "edit-video")
    fill(screen, "Video", "clip.mp4")
    fill(screen, "Instruction", "turn it sepia")
    choose(screen, "Editor", "grade")
    choose(screen, "Review", "required")
    screen.shoot("form", full_page=True)
    submit_and_watch(screen, service, "Completed")
    screen.shoot("run")
    page.get_by_text("Artifacts", exact=True).first.click()
    expect(page.get_by_text("Review").first).to_be_visible()
    screen.shoot("artifacts")
    assert deliverables(service) == []

    page.goto(service.pages)
    expect(page.get_by_text("awaiting review", exact=True)).to_have_count(1)
    screen.shoot("front")
    page.get_by_role("link", name="turn it sepia").click()
    page.wait_for_selector("body[data-ready]")
    page.locator("#wiper").fill("30")
    page.get_by_role("button", name="One frame on").click()
    expect(page.locator("#picture")).to_have_attribute("data-frame", "1")
    page.locator("#seek").fill("60")
    expect(page.locator("#picture")).to_have_attribute("data-frame", "60")
    screen.shoot("review", full_page=True)
    page.get_by_role("link", name="all jobs of this manifest").click()
    expect(page.get_by_role("link", name="turn it sepia")).to_be_visible()
    screen.shoot("index")

    (job,) = jobs(service)
    open_form(screen, service, "review-job")
    fill(screen, "Job", job["job_id"][:8])
    fill(screen, "Your name", "Ada")
    screen.shoot("decision", full_page=True)
    submit_and_watch(screen, service, "Completed")
    assert len(deliverables(service)) == 1
    events = service.folder.ask("status", job["job_id"])["events"]
    assert "approved by Ada" in events[-1]["reason"]
    page.goto(service.pages)
    expect(page.get_by_text("delivered", exact=True)).to_have_count(1)


def test_a_wrong_value_is_said_at_its_field_or_names_it_when_the_run_fails(screen: Screen, service: Service) -> None:
    page = screen.page
    open_form(screen, service, "edit-video")
    fill(screen, "Video", "clip.mp4")
    page.get_by_role("button", name="Submit").click()
    expect(field(screen, "Instruction").locator(".p-label__message")).to_be_visible()
    screen.shoot("missing")
    fill(screen, "Instruction", "make it shine like nothing else")
    choose(screen, "Editor", "grade")
    submit_and_watch(screen, service, "Failed")
    expect(page.get_by_text("field 'Instruction' (instruction)").first).to_be_visible()
    screen.shoot("failed")
    run, share = prefect(service, f"flow_runs/{newest_run(service)}"), others()
    assert run["total_run_time"] < FAILS_WITHIN * share


def test_only_pages_are_served_and_copies_in_ranges(service: Service) -> None:
    (job, *_) = [job for job in jobs(service) if job["state"] == "delivered"]
    folder = f"{service.pages}/jobs/{job['job_id']}/report"
    asked = urllib.request.Request(f"{folder}/review.mp4", headers={"Range": "bytes=4-7"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, b"ftyp")
    for path in (
        f"{service.pages}/jobs/{job['job_id']}/plan.json",
        f"{folder}/../plan.json",
        f"{folder}/pictures.json",
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(path, timeout=10)
    assert 'samaflow_jobs{state="delivered"} 1.0' in read(f"{service.pages}/metrics")


def test_a_stop_in_the_middle_loses_nothing_and_the_next_start_goes_on(screen: Screen, service: Service) -> None:
    before, known = len(deliverables(service)), len(jobs(service))
    open_form(screen, service, "edit-manifest")
    rows = [
        "source,instruction,editor",
        *(f"clip.mp4,{what},grade" for what in ("turn it grayscale", "make it warmer")),
    ]
    fill(screen, "Manifest, pasted", "\n".join(rows))
    submit(screen, service)
    wait_until(lambda: len(jobs(service)) > known, "the run to begin", RUN_SECONDS)
    assert service.stop() == 0
    assert len(deliverables(service)) < before + 2
    service.start()
    assert "go on where they stopped" in service.said()
    wait_until(lambda: len(deliverables(service)) == before + 2, "both files", RUN_SECONDS)


def test_a_second_service_in_the_same_folder_names_the_first(service: Service) -> None:
    second = service.folder.run("serve", "--port", str(free_port()), "--pages-port", str(free_port()))
    assert second.returncode == 2
    assert f"process {service.process.pid}, {service.ui}" in second.stderr
    note = service.folder.path / ".samaflow" / "serve" / "api_url"
    assert note.read_text(encoding="utf-8").strip() == f"{service.ui}/api"


def test_a_run_whose_process_is_killed_is_started_again_and_only_goes_on(service: Service) -> None:
    before = len(deliverables(service))
    edit = {"source": "clip.mp4", "instruction": "paint it", "editor": "sama", "steps": 20}
    killed = start(service, "edit-video", edit)
    wait_until(lambda: bool(service.folder.job_in("editing", "sama")), "the edit to begin", RUN_SECONDS)
    job = service.folder.job_in("editing", "sama")
    with closing(sqlite3.connect(service.folder.path / ".samaflow/samaflow.db")) as db:
        query = "SELECT pid FROM owner JOIN edit_job USING (owner_id) WHERE job_id = ?"
        (pid,) = db.execute(query, (job,)).fetchone()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state(service, killed) == "CRASHED", "the worker to say that the run crashed", RUN_SECONDS)
    mended = start(service, "reconcile", {})
    wait_until(lambda: state(service, mended) == "COMPLETED", "the cleaner", RUN_SECONDS)
    wait_until(lambda: len(deliverables(service)) == before + 1, "the deliverable", RUN_SECONDS)
    again = prefect(service, "flow_runs/filter", {"flow_runs": {"tags": {"all_": ["samaflow-again-1"]}}})
    assert len(again) == 1
    assert service.folder.ask("status", job)["state"] == "delivered"


def start(service: Service, flow: str, parameters: dict[str, object]) -> str:
    """Make a run of a deployment; its id."""
    deployment = prefect(service, f"deployments/name/{flow}/{flow}")["id"]
    made = prefect(service, f"deployments/{deployment}/create_flow_run", {"parameters": parameters})
    return str(made["id"])


def state(service: Service, run: str) -> str:
    return str(prefect(service, f"flow_runs/{run}")["state_type"])


def test_a_schedule_fires_by_itself_and_one_that_cannot_run_names_what_is_wrong(service: Service) -> None:
    here = service.folder.path
    (here / "rushes").mkdir()
    write_clip(here / "rushes" / "a.mp4", frames=24)
    deployment = prefect(service, "deployments/name/restyle-library/restyle-library")["id"]
    for root, state in (("gone", "FAILED"), ("rushes", "COMPLETED")):  # in turn: one runs at a time
        style = {"library": root, "mirror": "restyled", "instruction": "turn it sepia", "editor": "grade"}
        every = {"schedule": {"interval": 15}, "active": True, "max_scheduled_runs": 2, "parameters": style}
        (made,) = prefect(service, f"deployments/{deployment}/schedules", [every])
        wait_until(partial(twice, service, deployment, root, state), f"two runs of {root}", RUN_SECONDS)
        prefect(service, f"deployments/{deployment}/schedules/{made['id']}", method="DELETE")
    assert len(list((here / "restyled").glob("*.mp4"))) == 1
    share = others()
    for run in fired(service, deployment, "gone", "FAILED"):
        assert "library" in run["state"]["message"]
        assert "Mount the disk" in run["state"]["message"]
        assert run["total_run_time"] < FAILS_WITHIN * share


def twice(service: Service, deployment: str, root: str, state: str) -> bool:
    return len(fired(service, deployment, root, state)) > 1


def fired(service: Service, deployment: str, root: str, state: str) -> list[dict[str, Any]]:
    """Runs of a library that its schedule made and that ended so."""
    asked = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}}
    runs: list[dict[str, Any]] = prefect(service, "flow_runs/filter", asked)
    return [run for run in runs if run["auto_scheduled"] and run["parameters"]["library"] == root]
