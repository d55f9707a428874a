"""The review page in a real browser, opened from the file system: in step frame by frame, usable by hand and by key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page, expect

from edits.job import EditJob, JobState
from edits.media import child
from edits.media.records import Check, ReviewRequest, ReviewSpan
from edits.media.review import contact_names, layout_of
from tasks.report import ReportFact, ReportSeam
from tasks.review_page import Contact, PageChunk, ReviewPage, Seam, render
from tests.browser.conftest import PICTURES, Screen, others
from tests.fakes.recorded import edit_job

pytestmark = pytest.mark.browser

BITS = 14
FIRST_PICTURE = 1.0
"""Seconds until a page shows its first picture, on a machine of its own."""
HOSTILE = '<img src=x onerror="document.title=1"><script>alert(1)</script>'


@dataclass(frozen=True)
class Opened:
    """A review folder."""

    page: Path
    frames: int

    @property
    def url(self) -> str:
        return self.page.as_uri()


def numbered(number: int, size: tuple[int, int], shade: int) -> npt.NDArray[np.uint8]:
    """A picture that carries its number as a row of light and dark fields."""
    width, height = size
    picture = np.full((height, width, 3), shade, np.uint8)
    for bit in range(BITS):
        left, right = width * bit // BITS, width * (bit + 1) // BITS
        picture[height // 3 : 2 * height // 3, left:right] = 235 if number >> bit & 1 else 20
    return picture


def read_number(picture: npt.NDArray[np.uint8]) -> int:
    height, width = picture.shape[:2]
    row = picture[int(height * 0.45) : int(height * 0.55)].mean(axis=(0, 2))
    return sum(int(row[int(width * (bit + 0.5) / BITS)] > 128) << bit for bit in range(BITS))


def write_numbered(path: Path, frames: int, size: tuple[int, int], rate: Fraction, shade: int) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(number, size, shade), format="rgb24")))
        container.mux(video.encode())


def write_masks(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Frame n of them is white in its first n of `frames` parts."""
    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=Fraction(25))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.color_range = 2
        for number in range(frames):
            grey = np.zeros((height * 3 // 2, width), np.uint8)
            grey[:height, : width * number // frames] = 255
            grey[height:] = 128
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="yuv420p")))
        container.mux(video.encode())


def make_page(
    folder: Path, frames: int, size: tuple[int, int], rate: Fraction, job: EditJob, *, masked: bool = False
) -> Opened:
    """A review of two shots; the result is another encoding of the same numbers on a lighter ground."""
    folder.mkdir(parents=True)
    source, result = folder / "source.mp4", folder / "result.mp4"
    write_numbered(source, frames, size, rate, 60)
    write_numbered(result, frames, size, rate, 140)
    masks = folder / "mask.mkv"
    if masked:
        write_masks(masks, frames, size)
    index = child.run("index", source)
    contacts = (frames // 4, frames // 2, 3 * frames // 4)
    whole = (ReviewSpan(0, frames),)
    asked = ReviewRequest(str(source), index, str(result), 0, whole, str(folder / "review.mp4"), contacts)
    child.run("review", replace(asked, mask=str(masks) if masked else ""))
    layout, cut = layout_of(index), frames // 2
    page = ReviewPage(
        job=job,
        state=JobState.AWAITING_REVIEW,
        kind="deliverable",
        spans=((0, frames),),
        width=layout.width,
        height=layout.height,
        below=layout.below,
        rate=rate,
        times=(),
        shots=((0, cut), (cut, frames)),
        chunks=(
            PageChunk(0, 0, 0, cut * 2 // 3, 0, 0, (("edit", 3.5),), "cpu", 250_000_000),
            PageChunk(1, 0, cut // 2, cut, 4, 0, (("edit", 3.1),), "cpu", 250_000_000),
            PageChunk(2, 1, cut, frames, 0, 1, (("edit", 6.0),), "cpu", 250_000_000),
        ),
        seams=(Seam(cut // 2 + 4, 8),),
        contacts=tuple(Contact(frame, *contact_names(frame)) for frame in contacts),
        checks=(Check("frame count", True, str(frames), str(frames)), Check("black frames", False, "none", "2")),
        timings=(("split", 1.0), ("edit", 12.6)),
        lineage=(ReportFact("Editor", job.editor),),
        problem="",
        measured=(ReportSeam(cut // 2 + 4, 1.02, 0.98, 2.4, 1.0, ("luma",)),),
        masked=masked,
    )
    (folder / "index.html").write_text(render(page), encoding="utf-8")
    return Opened(folder / "index.html", frames)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """120 frames at 24000/1001, 640 x 360."""
    job = replace(edit_job(), instruction="make it look like winter", start=0, end=120)
    return make_page(
        tmp_path_factory.mktemp("review") / "job", 120, (640, 360), Fraction(24000, 1001), job, masked=True
    )


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Ten minutes: 6000 frames at 10 a second."""
    job = replace(edit_job(), start=0, end=6000)
    return make_page(tmp_path_factory.mktemp("review") / "long", 6000, (160, 90), Fraction(10), job)


@pytest.fixture
def opened(screen: Screen, short: Opened) -> Iterator[Screen]:
    screen.page.goto(short.url)
    screen.page.wait_for_selector("body[data-ready]")
    yield screen
    assert screen.complaints == []


def shown(screen: Screen) -> tuple[int, int, int]:
    """(number that the page states, number in the source's picture, in the result's), side by side on the screen."""
    canvas = screen.page.locator("#picture")
    stated = int(canvas.get_attribute("data-frame") or -1)
    data = np.frombuffer(canvas.screenshot(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    halves = np.split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)
    return stated, read_number(halves[0]), read_number(halves[1])


def settle(screen: Screen, frame: int) -> None:
    expect(screen.page.locator("#picture")).to_have_attribute("data-frame", str(frame))


def test_source_and_result_are_the_same_frame_at_every_step(opened: Screen) -> None:
    page = opened.page
    page.keyboard.press("2")
    for frame in range(1, 16):
        page.keyboard.press("ArrowRight")
        settle(opened, frame)
        assert shown(opened) == (frame, frame, frame)
    for frame in (77, 3, 119, 60, 59, 0):
        page.locator("#seek").fill(str(frame))
        settle(opened, frame)
        assert shown(opened) == (frame, frame, frame)
    opened.shoot("side")


def test_the_mask_is_that_of_the_frame_and_shows_where_the_edit_lies(opened: Screen) -> None:
    page = opened.page
    page.keyboard.press("6")
    expect(page.get_by_role("button", name="Mask", exact=True)).to_have_attribute("aria-pressed", "true")
    for frame in (30, 31, 90, 119):
        page.locator("#seek").fill(str(frame))
        settle(opened, frame)
        picture = cv2.imdecode(np.frombuffer(page.locator("#picture").screenshot(), np.uint8), cv2.IMREAD_COLOR)
        ground = picture[int(picture.shape[0] * 0.8) : int(picture.shape[0] * 0.9)].mean(axis=(0, 2))
        assert round(float((ground > 70).mean()) * 120) == frame
    opened.shoot("mask")


def test_a_seam_that_shows_is_named_with_its_figures_and_leads_to_its_frame(opened: Screen) -> None:
    page = opened.page
    expect(page.get_by_role("heading", name="1 seam between chunks, 1 to be looked at")).to_be_visible()
    row = page.get_by_role("region", name="1 seam between chunks").get_by_role("row").nth(1)
    expect(row).to_contain_text("2.40")
    row.get_by_role("button", name="Go to frame 34").click()
    settle(opened, 34)
    opened.shoot("seams", full_page=True)


def test_they_stay_in_step_while_playing(opened: Screen) -> None:
    page = opened.page
    page.keyboard.press("2")
    page.keyboard.press("k")
    for _ in range(6):
        page.wait_for_timeout(150)
        _, source, result = shown(opened)
        assert source == result
    assert int(page.locator("#picture").get_attribute("data-frame") or 0) > 5


def test_the_wipe_moves_by_hand_and_by_key(opened: Screen) -> None:
    page = opened.page
    box = page.locator("#picture").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 4
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, middle)
    page.mouse.up()
    assert page.locator("#wiper").input_value() == "20"
    page.keyboard.press("]")
    assert page.locator("#wiper").input_value() == "25"
    opened.shoot("wipe", full_page=True)


def test_keys_reach_seams_shots_and_views(opened: Screen) -> None:
    page = opened.page
    page.keyboard.press("n")
    settle(opened, 34)
    page.keyboard.press("ArrowDown")
    settle(opened, 60)
    page.keyboard.press("Shift+ArrowLeft")
    settle(opened, 50)
    page.keyboard.press("End")
    settle(opened, 119)
    for key, name in (("1", "Wipe"), ("3", "Source"), ("4", "Result"), ("5", "Difference")):
        page.keyboard.press(key)
        expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
    opened.shoot("difference")


def test_a_shot_loops(opened: Screen) -> None:
    page = opened.page
    page.locator("#seek").fill("50")
    settle(opened, 50)
    page.keyboard.press("l")
    page.keyboard.press("k")
    page.wait_for_timeout(1500)
    frame = int(page.locator("#picture").get_attribute("data-frame") or 0)
    assert frame < 60
    page.keyboard.press("k")


def test_a_picture_of_the_contact_sheet_leads_to_its_frame(opened: Screen) -> None:
    opened.page.get_by_role("button", name="Go to frame 90").first.click()
    settle(opened, 90)


@pytest.mark.parametrize("screen", [(390, 844)], indirect=True)
def test_the_page_fits_a_phone(opened: Screen) -> None:
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Side by side").click()
    opened.shoot("phone", full_page=True)


def test_every_control_has_a_name_and_every_picture_a_text(opened: Screen) -> None:
    nameless = opened.page.evaluate(
        """[...document.querySelectorAll("button, input, a, img, canvas")].filter((element) =>
             !(element.getAttribute("aria-label") || element.getAttribute("alt") || element.textContent.trim()
               || element.getAttribute("aria-hidden")) ).map((element) => element.outerHTML)"""
    )
    assert nameless == []
    assert opened.page.locator("h1").count() == 1


def first_picture(page: Page, opened: Opened) -> float:
    """Seconds until the page shows its first picture."""
    page.goto("about:blank")
    began = time.monotonic()
    page.goto(opened.url)
    page.wait_for_selector("body[data-ready]")
    return time.monotonic() - began


def test_ten_minutes_show_their_first_picture_within_a_second(browser: Browser, long: Opened) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    assert min(first_picture(page, long) for _ in range(3)) < FIRST_PICTURE * others()
    page.locator("#seek").fill("5987")
    expect(page.locator("#picture")).to_have_attribute("data-frame", "5987")
    page.keyboard.press("4")
    data = np.frombuffer(page.locator("#picture").screenshot(path=PICTURES / "long.png"), np.uint8)
    assert read_number(cv2.imdecode(data, cv2.IMREAD_COLOR)) == 5987
    page.close()


def test_markup_in_an_instruction_or_a_name_shows_as_text(screen: Screen, tmp_path: Path) -> None:
    job = replace(edit_job(), instruction=HOSTILE, notes=HOSTILE, source=f"file:///clips/{HOSTILE}", start=0, end=24)
    opened = make_page(tmp_path / "job", 24, (160, 96), Fraction(24), job)
    screen.page.goto(opened.url)
    screen.page.wait_for_selector("body[data-ready]")
    assert screen.page.locator("h1").inner_text() == HOSTILE
    assert screen.page.title().startswith("<img")
    assert screen.page.locator("h1 img").count() == 0
    assert screen.complaints == []


def test_a_tall_picture_lies_beside_its_result(screen: Screen, tmp_path: Path) -> None:
    job = replace(edit_job(), start=0, end=24)
    opened = make_page(tmp_path / "job", 24, (180, 320), Fraction(24), job)
    screen.page.goto(opened.url)
    screen.page.wait_for_selector("body[data-ready]")
    screen.page.keyboard.press("2")
    screen.page.locator("#seek").fill("13")
    settle(screen, 13)
    assert shown(screen) == (13, 13, 13)
    screen.shoot("tall")
