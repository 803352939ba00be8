"""ASGI middleware for apps on loopback: it refuses requests from pages of other sites.

Any page in a browser can send requests to 127.0.0.1 and, by DNS rebinding, read the responses. So
each request must name a host of ours, must not come from another site, and must not be one that a
form could send. Passwords are not its concern, see `token.py`. The app must change nothing on GET.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80
_POLICY_VIOLATION = 1008  # code of a WebSocket that is refused

# Another site may not show our pages in a frame, read them, or share a window with them.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ONCE = ("host", "origin", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: HTTP status.
        message: reason and cure, for the sender.
    """

    status: int
    message: str


_TWICE = Refusal(400, "Refused: a header that decides who may ask is there twice. Send it once.")
_HOST = Refusal(
    421,
    "Refused: this page answers to 127.0.0.1, localhost and [::1] with its own port alone. "
    "If you reach it under another name or port, list that in MT_UI_HOSTS, "
    "such as dagster.example.org, and start the service again.",
)
_SITE = Refusal(
    403,
    "Refused: a page of another site asked, and nothing was done. "
    "Open this page itself: a link to it, a bookmark or its address work.",
)
_CONTENT = Refusal(
    415,
    "Refused: only JSON changes something here. "
    "Send it with the header Content-Type: application/json.",
)


def hosts_of(port: int, others: Iterable[str] = ()) -> frozenset[str]:
    """Return the allowed values of `Host`: the names of loopback with the port, and `others`."""
    own = {f"{name}:{port}" for name in _LOOPBACK}
    if port == _HTTP_PORT:  # browsers omit it
        own.update(_LOOPBACK)
    return frozenset(own | {other.lower() for other in others})


def refusal(method: str, headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    """Return why a request is refused; None if it is allowed.

    Args:
        method: HTTP method; GET for the handshake of a WebSocket.
        headers: headers of the request.
        hosts: allowed values of `Host`, in lower case.
    """
    if any(len(headers.getlist(name)) > 1 for name in _ONCE):
        return _TWICE
    host = headers.get("host", "").lower()
    if host not in hosts:
        return _HOST
    own = headers.get("origin", "").lower() in (f"http://{host}", f"https://{host}")
    if ("origin" in headers and not own) or _from_another_site(method, headers):
        return _SITE
    # Forms of any site can send three content types without a preflight request, and old browsers
    # then send no origin.
    if (
        method not in ("GET", "HEAD")
        and not own
        and headers.get("sec-fetch-site") != "same-origin"
        and not _is_json(headers)
    ):
        return _CONTENT
    return None


def _from_another_site(method: str, headers: Headers) -> bool:
    """Return whether a page of another site sent a request, according to the browser's headers.

    A link that somebody follows is allowed.
    """
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    return (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != (
        "GET",
        "navigate",
        "document",
    )


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


class Guard:
    """The middleware. It refuses requests, and tells browsers to keep responses from other sites.

    Args:
        app: any ASGI app.
        hosts: allowed values of `Host`; see `hosts_of`.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = refusal(scope.get("method", "GET"), Headers(scope=scope), self._hosts)
        app = self._app
        if refused is not None:
            app = refusing(PlainTextResponse(refused.message + "\n", refused.status))
        await app(scope, receive, _with_headers(send))


def refusing(answer: ASGIApp) -> ASGIApp:
    """Return an app that refuses all requests by an answer, and WebSockets by 403.

    Uvicorn sends a page in place of a WebSocket, but then reports an error of its own.
    """

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await answer(scope, receive, send)

    return refuse


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.append(name, value)
        await send(message)

    return send_with_headers
