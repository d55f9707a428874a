"""Notices: `samaflow notify` against a real Prefect server, which then calls a web address when a run has failed."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.fakes.command import Folder, wait_until


class Channel:
    """A chat channel's web address, and what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(channel) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler below
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                channel.told.append(json.loads(body)["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.close()


def ask(url: str, asked: object) -> Any:
    request = urllib.request.Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def failed_run(prefect_url: str, name: str, tags: list[str]) -> None:
    flow = ask(f"{prefect_url}/flows/", {"name": "edit-video"})
    state = {"type": "RUNNING", "name": "Running"}
    run = ask(f"{prefect_url}/flow_runs/", {"flow_id": flow["id"], "name": name, "tags": tags, "state": state})
    failed = {"state": {"type": "FAILED", "name": "Failed", "message": "line 2"}, "force": True}
    ask(f"{prefect_url}/flow_runs/{run['id']}/set_state", failed)


def test_notices_are_made_once_and_a_failed_run_is_told(folder: Folder, prefect_url: str, channel: Channel) -> None:
    first, second = (folder.run("notify", channel.url) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    made = [automation["name"] for automation in ask(f"{prefect_url}/automations/filter", {})]
    assert sorted(made) == sorted(first.stdout.splitlines()) == sorted(second.stdout.splitlines())
    assert len(made) == 4

    failed_run(prefect_url, "another-system", [])
    failed_run(prefect_url, "our-own", ["samaflow"])

    def told() -> list[str]:
        """Of these two: runs of other tests fail on the same server meanwhile."""
        return [line for line in channel.told if "another-system" in line or "our-own" in line]

    wait_until(lambda: bool(told()), "the channel to be told")
    assert told() == ["samaflow: a run failed: our-own (prefect.flow-run.Failed)"]
