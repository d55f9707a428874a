"""The API server: HTTP/1.1 on a free port, with watches, and the troubles that a real one has."""

from __future__ import annotations

import copy
import json
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.cluster.clock import Clock
from tests.fakes.cluster.objects import Json, Objects, Place, RefusedError, matches

KINDS = {
    "jobs": ("batch/v1", "Job"),
    "pods": ("v1", "Pod"),
    "events": ("v1", "Event"),
    "namespaces": ("v1", "Namespace"),
    "nodes": ("v1", "Node"),
    "secrets": ("v1", "Secret"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "resourcequotas": ("v1", "ResourceQuota"),
    "priorityclasses": ("scheduling.k8s.io/v1", "PriorityClass"),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "selfsubjectaccessreviews": ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
}
CLUSTER_WIDE = frozenset({"namespaces", "nodes", "priorityclasses", "selfsubjectaccessreviews"})
VERBS = {"GET": "get", "POST": "create", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}


class Address:
    """A path of the API, taken apart."""

    def __init__(self, path: str, method: str) -> None:
        url = urlsplit(path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        self.version = parts == ["version"]
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        self.namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            self.namespace, rest = rest[1], rest[2:]
        self.plural = rest[0] if rest else ""
        self.name = rest[1] if len(rest) > 1 else ""
        self.sub = rest[2] if len(rest) > 2 else ""
        listing = method == "GET" and not self.name
        self.watch = listing and self.query.get("watch") in ("true", "True", "1")
        self.verb = "watch" if self.watch else "list" if listing else VERBS[method]

    @property
    def place(self) -> Place:
        return (self.plural, self.namespace)

    @property
    def resource(self) -> str:
        return f"{self.plural}/{self.sub}" if self.sub else self.plural


Trouble = Callable[[Address], "str | int | None"]
"""Looks at a request: a status code to answer instead (429, 500, 503), `reset`, or None to let it pass."""


class ApiServer:
    """Serves `objects` while it is entered. `created` is told of new objects before they are stored."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self.objects = objects
        self.clock = clock
        self.version = "v1.34.2"
        self.calls: Counter[str] = Counter()
        """Requests by `verb plural`."""
        self.troubles: deque[str | int] = deque()
        """Each request takes the next."""
        self.trouble: Trouble = lambda address: None
        self.forbidden: set[tuple[str, str]] = set()
        """(verb, resource) that this client may not do."""
        self.on_create: Callable[[Place, Json], None] = lambda place, body: None
        self.on_delete: Callable[[Place, Json, Json], bool] = lambda place, body, options: False
        """Whether somebody else removes the object, later."""
        self.logs: Callable[[str], str] = lambda pod: ""
        self.watch_seconds = 300.0
        self.bookmark_seconds = 5.0
        self._generation = 0
        self._closing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ApiServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self.drop_watches()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path, namespace: str = "samaflow") -> Path:
        """A file that leads the real client here."""
        context = {"cluster": "double", "user": "nobody", "namespace": namespace}
        path = folder / "kubeconfig.yaml"
        whole = {
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "nobody", "user": {"token": "none"}}],
            "contexts": [{"name": "double", "context": context}],
        }  # fmt: skip
        path.write_text(json.dumps(whole))
        return path

    def drop_watches(self) -> None:
        """Break every open watch, as a load balancer does."""
        with self.objects.changed:
            self._generation += 1
            self.objects.changed.notify_all()

    # -- requests

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: server._serve(self)
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                """Quiet."""

            def handle(self) -> None:
                with suppress(ConnectionError):
                    super().handle()

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        address = Address(handler.path, handler.command)
        self.calls[f"{address.verb} {address.resource or 'version'}"] += 1
        trouble = self.troubles.popleft() if self.troubles else self.trouble(address)
        try:
            if trouble == "reset":
                _reset(handler)
            elif isinstance(trouble, int):
                raise RefusedError(trouble, {429: "TooManyRequests"}.get(trouble, "InternalError"), "storm")
            elif address.watch:
                self._watch(handler, address)
            else:
                _answer(handler, 200 if handler.command != "POST" else 201, self._act(address, handler.command, body))
        except RefusedError as refused:
            _answer(handler, refused.code, refused.status())

    def _act(self, address: Address, method: str, data: bytes) -> Json | str:
        if address.version:
            major, minor, _ = self.version.removeprefix("v").split(".")
            return {"major": major, "minor": minor, "gitVersion": self.version}
        if address.plural not in KINDS:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        self._authorize(address)
        body = json.loads(data) if data else {}
        if address.plural == "selfsubjectaccessreviews":
            return self._review(body)
        if address.sub == "log":
            self.objects.get(address.place, address.name)
            return self.logs(address.name)
        if method == "GET":
            return self._read(address)
        if method == "POST":
            return self._create(address, body)
        if method == "DELETE":
            return self._delete(address, body)
        return copy.deepcopy(self.objects.change(address.place, address.name, lambda found: _merge(found, body)))

    def _authorize(self, address: Address) -> None:
        if (address.verb, address.resource) in self.forbidden:
            where = f'in the namespace "{address.namespace}"' if address.namespace else "at the cluster scope"
            text = f'{address.resource} is forbidden: User "nobody" cannot {address.verb} resource "{address.resource}"'
            raise RefusedError(403, "Forbidden", f"{text} {where}")
        namespaced = address.namespace and self.objects.all(("namespaces", ""))
        if namespaced and all(n["metadata"]["name"] != address.namespace for n in self.objects.all(("namespaces", ""))):
            raise RefusedError(404, "NotFound", f'namespaces "{address.namespace}" not found')

    def _review(self, body: Json) -> Json:
        asked = body["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        body["status"] = {"allowed": (asked["verb"], resource) not in self.forbidden}
        return body

    def _read(self, address: Address) -> Json:
        version, kind = KINDS[address.plural]
        if address.name:
            with self.objects.changed:
                return {
                    "apiVersion": version,
                    "kind": kind,
                    **copy.deepcopy(self.objects.get(address.place, address.name)),
                }
        items, at = self.objects.snapshot(address.place)
        query = address.query
        items = [i for i in items if matches(i, query.get("labelSelector", ""), query.get("fieldSelector", ""))]
        return {"apiVersion": version, "kind": f"{kind}List", "metadata": {"resourceVersion": str(at)}, "items": items}

    def _create(self, address: Address, body: Json) -> Json:
        if address.plural == "jobs":
            _check_job(body)
        self.on_create(address.place, body)
        if address.query.get("dryRun"):
            return body
        return copy.deepcopy(self.objects.create(address.place, body))

    def _delete(self, address: Address, options: Json) -> Json:
        with self.objects.changed:
            body = self.objects.get(address.place, address.name)
            options.setdefault("propagationPolicy", address.query.get("propagationPolicy", "Background"))
            if not self.on_delete(address.place, body, options):
                self.objects.remove(address.place, address.name)
            return copy.deepcopy(body)

    # -- watches

    def _watch(self, handler: BaseHTTPRequestHandler, address: Address) -> None:
        self._authorize(address)
        handler.send_response_only(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with suppress(OSError):
            self._stream(handler, address)
        handler.close_connection = True

    def _stream(self, handler: BaseHTTPRequestHandler, address: Address) -> None:
        version = int(address.query.get("resourceVersion") or 0) or self.objects.version()
        deadline = time.monotonic() + min(float(address.query.get("timeoutSeconds") or 1e9), self.watch_seconds)
        generation, bookmark = self._generation, time.monotonic() + self.bookmark_seconds
        while time.monotonic() < deadline and not self._closing:
            try:
                events, version = self.objects.since(address.place, version)
            except RefusedError as refused:
                _chunk(handler, {"type": "ERROR", "object": refused.status()})
                break
            for kind, body in events:
                if matches(body, address.query.get("labelSelector", ""), address.query.get("fieldSelector", "")):
                    _chunk(handler, {"type": kind, "object": body})
            if time.monotonic() > bookmark and address.query.get("allowWatchBookmarks"):
                version, bookmark = self._bookmark(handler, address, version), time.monotonic() + self.bookmark_seconds
            with self.objects.changed:
                if self._generation != generation:
                    handler.connection.shutdown(socket.SHUT_RDWR)
                    return
                if self.objects.version() <= version:
                    self.objects.changed.wait(0.2)
        handler.wfile.write(b"0\r\n\r\n")

    def _bookmark(self, handler: BaseHTTPRequestHandler, address: Address, version: int) -> int:
        metadata = {"resourceVersion": str(version)}
        _chunk(handler, {"type": "BOOKMARK", "object": {"kind": KINDS[address.plural][1], "metadata": metadata}})
        return version


def _check_job(body: Json) -> None:
    """The part of the server's validation that a mistake of ours would meet."""
    spec = body.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    if not pod.get("containers"):
        raise RefusedError(422, "Invalid", "Job is invalid: spec.template.spec.containers: Required value")
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise RefusedError(422, "Invalid", 'Job is invalid: spec.template.spec.restartPolicy: Required value: "Never"')
    if spec.get("podFailurePolicy") and pod["restartPolicy"] != "Never":
        raise RefusedError(422, "Invalid", "Job is invalid: spec.podFailurePolicy needs restartPolicy Never")
    if spec.get("backoffLimitPerIndex") is not None and spec.get("completionMode") != "Indexed":
        raise RefusedError(422, "Invalid", "Job is invalid: spec.backoffLimitPerIndex needs completionMode Indexed")
    if len(body["metadata"].get("name", "")) > 63:
        raise RefusedError(422, "Invalid", "Job is invalid: metadata.name: must be no more than 63 characters")


def _merge(target: Json, patch: Json) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value


def _answer(handler: BaseHTTPRequestHandler, code: int, body: Json | str) -> None:
    text = isinstance(body, str)
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    handler.send_response_only(code)
    handler.send_header("Content-Type", "text/plain" if text else "application/json")
    handler.send_header("Content-Length", str(len(data)))
    if code == 429:
        handler.send_header("Retry-After", "1")
    handler.end_headers()
    handler.wfile.write(data)


def _chunk(handler: BaseHTTPRequestHandler, event: Json) -> None:
    data = json.dumps(event).encode() + b"\n"
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    handler.wfile.flush()


def _reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
