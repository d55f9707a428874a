"""A real Chromium, and one `samaflow serve` for all tests that need the service. `make test-browser` runs these.

Every test leaves pictures in `.browser/`, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fakes.clips import write_clip
from tests.fakes.command import SAMAFLOW, Folder, wait_until
from tests.fakes.prefect_server import free_port

expect.set_options(timeout=30_000)
"""A busy machine is no failure of the page."""

PICTURES = Path(__file__).resolve().parents[2] / ".browser"


def others() -> float:
    """How many are in line for each processor, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail("no Chromium on the PATH: `make test-browser` installs Debian's, or install one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Screen:
    """A page, with everything that its console said."""

    page: Page
    complaints: list[str]
    name: str

    def shoot(self, what: str, *, full_page: bool = False) -> None:
        """Keep a picture of the page as it is."""
        PICTURES.mkdir(exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{self.name}-{what}.png", full_page=full_page)


@pytest.fixture
def screen(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A window; the test's parameters may say how large (`indirect`)."""
    width, height = getattr(request, "param", (1280, 900))
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    screen = Screen(page, complaints, request.node.originalname.removeprefix("test_"))
    yield screen
    screen.shoot("end")
    context.close()


@dataclass
class Service:
    """A running `samaflow serve` and the folder in which its runs work."""

    folder: Folder
    ui: str
    pages: str
    process: subprocess.Popen[bytes]
    command: list[str]

    def start(self) -> None:
        with (self.folder.path / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder.path, env=self.folder.environ, stdout=log, stderr=log
            )
        wait_until(lambda: "Ctrl-C stops it" in self.said(), f"the service; it said: {self.said()}", 300)

    def said(self) -> str:
        log = self.folder.path / "serve.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        (self.folder.path / "serve.log").unlink()
        return code


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service over a folder with one clip of two shots, `clip.mp4`."""
    port, pages = free_port(), free_port()
    path = tmp_path_factory.mktemp("service")
    folder = Folder(path, f"http://127.0.0.1:{port}/api")
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "SAMAFLOW_REVIEW_PAGES"):
        folder.environ.pop(name)
    write_clip(path / "clip.mp4", frames=72, cuts=(40,), size=(320, 192))
    command = [str(SAMAFLOW), "serve", "--port", str(port), "--pages-port", str(pages)]
    ui, review = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{pages}"
    service = Service(folder, ui, review, None, command)  # type: ignore[arg-type]
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            os.kill(service.process.pid, signal.SIGTERM)
            service.process.wait(timeout=60)
