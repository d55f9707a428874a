"""What a producer does, in a real browser: find the form, fill it, watch the run, look at its review, decide."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Screen, Service
from tests.fakes.command import wait_until

pytestmark = pytest.mark.browser

RUN_SECONDS = 90


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


def submit_and_watch(screen: Screen, service: Service, state: str) -> None:
    """Submit the form, go to its run, and see it end in `state`."""
    page = screen.page
    known = newest_run(service)
    page.get_by_role("button", name="Submit").click()
    wait_until(lambda: newest_run(service) != known, "the run to be made", RUN_SECONDS)
    page.goto(f"{service.ui}/runs/flow-run/{newest_run(service)}")
    expect(page.locator(".state-badge").first).to_have_text(state, timeout=RUN_SECONDS * 1000)


def newest_run(service: Service) -> str:
    """Id of the flow run that was made last by hand; empty before the first."""
    now = datetime.now(UTC).isoformat()
    due = {"expected_start_time": {"before_": now}}  # schedules have a hundred more in store
    asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": 50, "flow_runs": due}
    request = urllib.request.Request(
        f"{service.ui}/api/flow_runs/filter", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        runs = [run for run in json.load(answer) if not run["auto_scheduled"]]
    return str(runs[0]["id"]) if runs else ""


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def jobs(service: Service) -> list[dict[str, str]]:
    found: list[dict[str, str]] = service.folder.json("status")["jobs"]
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
    events = service.folder.json("status", job["job_id"])["events"]
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
    expect(page.get_by_text("column 'instruction'").first).to_be_visible()
    screen.shoot("failed")


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
    page = screen.page
    before, known = len(deliverables(service)), len(jobs(service))
    open_form(screen, service, "edit-manifest")
    rows = [
        "source,instruction,editor",
        *(f"clip.mp4,{what},grade" for what in ("turn it grayscale", "make it warmer")),
    ]
    fill(screen, "Manifest, pasted", "\n".join(rows))
    page.get_by_role("button", name="Submit").click()
    wait_until(lambda: len(jobs(service)) > known, "the run to begin", RUN_SECONDS)
    assert service.stop() == 0
    assert len(deliverables(service)) < before + 2
    service.start()
    assert "go on where they stopped" in service.said()
    wait_until(lambda: len(deliverables(service)) == before + 2, "both files", RUN_SECONDS)
