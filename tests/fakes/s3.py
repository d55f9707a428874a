"""An S3 server in the process (moto), and a proxy before it that answers as a store in trouble does."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer

BUCKET = "samaflow-test"
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Settings under which a client talks to the double and to nothing else."""

SLOW_SECONDS = 2.0
PIECES = 8
"""Of a body that comes slowly."""

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
ANSWERS = {"slow_down": (503, SLOW_DOWN), "bad_gateway": (502, b"<html>bad gateway</html>"), "denied": (403, DENIED)}
"""Faults that are a plain answer."""


@contextmanager
def s3_server() -> Iterator[str]:
    """Its URL; a bucket `BUCKET` is there."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        _put_bucket(host, port)
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _put_bucket(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    connection.close()


class TroubledS3:
    """A proxy: each request takes the next fault from `faults`, or passes when there is none.

    Faults: `slow_down`, `bad_gateway`, `denied` (answers), `reset` (the connection breaks), `half` (half of the
    answer's body, then the connection breaks), `slow` (the body comes in pieces, over `SLOW_SECONDS`), `swallow` (the
    upload's first half is read, then nothing happens until the client is gone; `swallowing` is set meanwhile).
    """

    def __init__(self, target: str) -> None:
        self.faults: deque[str] = deque()
        self.requests: list[str] = []
        self.swallowing = threading.Event()
        self._target = target.removeprefix("http://")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> TroubledS3:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: proxy._serve(self)
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{handler.command} {handler.path}")
        fault = self.faults.popleft() if self.faults else ""
        length = int(handler.headers.get("Content-Length", 0))
        if fault == "swallow":
            handler.rfile.read(length // 2)
            self.swallowing.set()
            handler.connection.recv(1, socket.MSG_WAITALL | socket.MSG_PEEK)
            while handler.rfile.read(1 << 16):
                pass
        body = handler.rfile.read(length)
        if fault == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
        elif fault in ANSWERS:
            _answer(handler, *ANSWERS[fault])
        else:
            self._pass_on(handler, body, fault)

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes, fault: str) -> None:
        connection = http.client.HTTPConnection(self._target)
        connection.request(handler.command, handler.path, body, dict(handler.headers))
        answer = connection.getresponse()
        data = answer.read()
        handler.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                handler.send_header(name, value)
        handler.end_headers()
        for piece in _pieces(data, fault):
            handler.wfile.write(piece)
        handler.close_connection = fault == "half"
        connection.close()


def _pieces(data: bytes, fault: str) -> Iterator[bytes]:
    """What of a body is sent, with the pauses."""
    if fault == "half":
        yield data[: len(data) // 2]
    elif fault == "slow":
        size = max(1, -(-len(data) // PIECES))
        for start in range(0, len(data), size):
            time.sleep(SLOW_SECONDS / PIECES)
            yield data[start : start + size]
    else:
        yield data


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response_only(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
