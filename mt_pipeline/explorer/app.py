"""The web app: its addresses, each with what answers it. It can be asked, and changes nothing.

Answers are computed in threads of their own, a few at a time, so that none delays another's data.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mt_pipeline import __version__
from mt_pipeline.explorer import answers, captures, conditions, listing, packets, places, views
from mt_pipeline.explorer.asked import see
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.downloads import Downloads
from mt_pipeline.explorer.files import FORMATS, Files
from mt_pipeline.explorer.listing import Links
from mt_pipeline.explorer.state import Asked, parse
from mt_pipeline.explorer.store import Store

PAGE = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""Types of the files of the page. Files with other endings are not served."""

_POLICY = "; ".join(
    f"{what} {whom}"
    for what, whom in {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "font-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }.items()
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_AT_ONCE = 4
"""Answers that are computed at the same time."""

Answer = Callable[[Store, Asked], object]
Endpoint = Callable[[Request], Awaitable[Response]]


def app(store: Store, files: Files, links: Links) -> ASGIApp:
    """Return the app. Who may ask must be decided around it.

    Args:
        store: the experiments.
        files: makes files of them.
        links: to other pages.
    """
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
    sent = Downloads(store, files)

    async def computed(answer: Callable[[], object]) -> Response:
        def answered() -> Response:
            return answers.as_json(answer())

        return await asyncio.get_running_loop().run_in_executor(pool, answers.of, answered)

    def call(path: str, answer: Answer, more: Sequence[str] = ()) -> Route:
        async def respond(request: Request) -> Response:
            query = request.url.query
            return await computed(lambda: answer(store, parse(query, more)))

        return Route(f"/api/{path}", respond, methods=["GET"])

    async def conversation(request: Request) -> Response:
        query = request.url.query
        return await computed(lambda: packets.window(store.session, packets.parse(query)))

    routes = [
        call("experiments", lambda store, _: listing.experiments(store, links)),
        call("captures", lambda store, asked: captures.captures(store.session, asked.view)),
        call("dimensions", lambda *_: _dimensions()),
        call("view", views.view),
        call("table", views.one_table, views.TABLE),
        call("matrix", views.matrix, views.MATRIX),
        call("new", views.new, views.NEW),
        call("conversations", views.listed, views.CONVERSATIONS),
        call("places", lambda store, asked: places.places(see(store, asked.view))),
        call("world", lambda *_: places.world()),
        call("check", lambda store, asked: files.check(see(store, asked.view))),
        call("python", lambda _, asked: {"lines": conditions.lines(asked.view)}),
        Route("/api/packets", conversation, methods=["GET"]),
        *(Route(f"/download/{name}", sent.sending(name), methods=["GET"]) for name in FORMATS),
        Route("/server_info", _server_info, methods=["GET"]),
        Route("/", _file("index.html"), methods=["GET"]),
        *(Route(f"/page/{name}", _file(name), methods=["GET"]) for name in _files()),
    ]
    return Starlette(routes=routes)


class OnlyGet:
    """ASGI middleware that refuses every method that could change something.

    Args:
        app: any ASGI app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            refused = PlainTextResponse(
                "Refused: this page can be read, and nothing else.\n", 405, {"Allow": "GET, HEAD"}
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _dimensions() -> object:
    return [
        {"id": each.id, "title": each.title, "group": each.group, "note": each.note}
        for each in DIMENSIONS.values()
    ]


async def _server_info(_: Request) -> Response:
    return answers.as_json({"mt_pipeline": __version__})


def _files() -> Sequence[str]:
    """Return the names of the files of the page."""
    return sorted(path.name for path in PAGE.iterdir() if path.suffix in _TYPES)


def _file(name: str) -> Endpoint:
    async def send(_: Request) -> Response:
        path = PAGE / name
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)

    return send
