"""The store's pages over HTTP, read-only: review pages with their copies (in ranges), manifests, a front page, metrics.

Serves what is meant for people and nothing else of the store. Behind the same authentication as the Prefect server when
that has one (`PREFECT_SERVER_API_AUTH_STRING`). Knows no flows and changes nothing.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Awaitable, Callable, Iterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import sql
from edits.errors import SamaflowError
from edits.job import JobState
from edits.settings import Settings
from edits.storage import Store
from tasks.review import card_of
from tasks.review_page import ReviewIndex, render_index

_SERVED = re.compile(
    r"jobs/[0-9a-f]{8,64}/report/(index\.html|review\.mp4|frame-[0-9]+-(source|result)\.jpg)"
    r"|manifests/[0-9a-f]{8,64}/index\.html"
)
_TYPES = {"html": "text/html; charset=utf-8", "mp4": "video/mp4", "jpg": "image/jpeg"}
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
BLOCK = 1 << 20
NEWEST = 120
"""Jobs on the front page."""

Handler = Callable[[Request], Awaitable[Response]]


def pages_app(settings: Settings, auth: str = "") -> Starlette:
    """The application. `auth` is `user:password`, or empty where everybody may look."""
    pages = _Pages(settings)
    routes = [
        Route("/", pages.front),
        Route("/health", pages.health),
        Route("/metrics", pages.metrics),
        Route("/{path:path}", pages.file),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=_Guard(auth))])


class _Guard:
    """Asks for the password where there is one, and adds the headers that a page cannot state itself."""

    def __init__(self, auth: str) -> None:
        self._expected = f"Basic {base64.b64encode(auth.encode()).decode()}" if auth else ""

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        given = request.headers.get("authorization", "")
        open_to_all = not self._expected or request.url.path == "/health"
        if open_to_all or hmac.compare_digest(given.encode(), self._expected.encode()):
            response = await call_next(request)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="samaflow", charset="UTF-8"'}
            response = PlainTextResponse("Give the user and password of the Prefect server.", 401, challenge)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return response


class _Pages:
    """The handlers. Starlette runs each, being plain functions, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._store = Store(settings.store, endpoint_url=settings.endpoint_url)
        self._database = settings.database

    def front(self, request: Request) -> Response:
        """What waits for a decision, then the newest."""
        db = sql.open_database(self._database)
        try:
            waiting = sql.jobs(db, states={JobState.AWAITING_REVIEW}, limit=NEWEST)
            others = sql.jobs(db, states=set(JobState) - {JobState.AWAITING_REVIEW}, limit=NEWEST)
        finally:
            db.close()
        cards = tuple(card_of(self._store, record) for record in (*waiting, *others))
        return HTMLResponse(render_index(ReviewIndex("All jobs", "", cards, root="")))

    def health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    def metrics(self, request: Request) -> Response:
        from tasks.metrics import CONTENT_TYPE, exposition

        db = sql.open_database(self._database)
        try:
            return Response(exposition(db), media_type=CONTENT_TYPE)
        finally:
            db.close()

    def file(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path.endswith("/"):
            path += "index.html"
        if not _SERVED.fullmatch(path):
            return PlainTextResponse("There is no such page.", 404)
        kind = _TYPES[path.rpartition(".")[2]]
        headers = {"Cache-Control": "no-cache"}
        local = self._store.local(path)
        if local is not None:
            if not local.is_file():
                return PlainTextResponse("There is no such page (yet).", 404)
            return FileResponse(local, media_type=kind, headers=headers)
        try:
            return self._remote(path, kind, headers, request.headers.get("range", ""))
        except SamaflowError as error:
            return PlainTextResponse(str(error), 503)

    def _remote(self, path: str, kind: str, headers: dict[str, str], asked: str) -> Response:
        size = self._store.size(path)
        if size is None:
            return PlainTextResponse("There is no such page (yet).", 404)
        start, end, status = part_of_file(asked, size)
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        headers |= {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return StreamingResponse(self._blocks(path, start, end), status, headers, kind)

    def _blocks(self, path: str, start: int, end: int) -> Iterator[bytes]:
        for first in range(start, end, BLOCK):
            yield self._store.read_part(path, first, min(end, first + BLOCK))


def part_of_file(asked: str, size: int) -> tuple[int, int, int]:
    """(start, end, HTTP status) of what a Range header asks for (RFC 9110, 14.1.2): one range; any other form is the
    whole file. An empty range cannot be given."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not any(match.groups()):
        return 0, size, 200
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size, 206
    return int(first), min(size, int(last) + 1 if last else size), 206
