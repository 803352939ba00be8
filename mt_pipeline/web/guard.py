"""A layer around any ASGI app on loopback: it answers its own pages and programs of this machine, and no page of another site.

Every page that a browser shows can send requests to 127.0.0.1, and by DNS rebinding read the answers. So each request must name a host that is ours,
must not come from another site, and must not be one that a form could send. It needs no password: that is `token.py`. Apps see to it that GET
changes nothing.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80

# What browsers may do with our answers: show them in no frame of another site, hand them to no page of one, share no window with one.
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
        status: of HTTP.
        sentence: what is wrong and what to do, for whoever sent it.
    """

    status: int
    sentence: str


_TWICE = Refusal(400, "Refused: a header that decides who may ask is there twice. Send it once.")
_HOST = Refusal(
    421,
    "Refused: this page answers to 127.0.0.1, localhost and [::1] with its own port alone. "
    "If you reach it under another name or port, list that in MT_UI_HOSTS, such as dagster.example.org, and start the service again.",
)
_SITE = Refusal(
    403,
    "Refused: a page of another site asked, and nothing was done. Open this page itself: a link to it, a bookmark or its address work.",
)
_CONTENT = Refusal(
    415,
    "Refused: only JSON changes something here. Send it with the header Content-Type: application/json.",
)


def hosts_of(port: int, others: Iterable[str] = ()) -> frozenset[str]:
    """List what `Host` may be: loopback by its names, with the port, and other names exactly as browsers send them."""
    own = {f"{name}:{port}" for name in _LOOPBACK}
    if port == _HTTP_PORT:  # browsers leave it out
        own.update(_LOOPBACK)
    return frozenset(own | {other.lower() for other in others})


def refusal(method: str, headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    """Say why a request is refused; None if it may go on.

    Args:
        method: of HTTP; GET for the handshake of a WebSocket.
        headers: of the request.
        hosts: what `Host` may be, in lower case.
    """
    if any(len(headers.getlist(name)) > 1 for name in _ONCE):
        return _TWICE
    host = headers.get("host", "").lower()
    if host not in hosts:
        return _HOST
    own = headers.get("origin", "").lower() in (f"http://{host}", f"https://{host}")
    if ("origin" in headers and not own) or _from_another_site(method, headers):
        return _SITE
    # Forms of any site can send three types of content without asking first, and old browsers then name no origin.
    if (
        method not in ("GET", "HEAD")
        and not own
        and headers.get("sec-fetch-site") != "same-origin"
        and not _is_json(headers)
    ):
        return _CONTENT
    return None


def _from_another_site(method: str, headers: Headers) -> bool:
    """Tell what a page of another site asked, by what browsers say of it; a link that somebody follows is no such thing."""
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
    """The layer. It refuses before the app sees anything, and tells browsers to keep answers from other sites.

    Args:
        app: any ASGI app.
        hosts: what `Host` may be: `hosts_of`.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = refusal(scope.get("method", "GET"), Headers(scope=scope), self._hosts)
        app = (
            self._app
            if refused is None
            else PlainTextResponse(refused.sentence + "\n", refused.status)
        )
        await app(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sent(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.append(name, value)
        await send(message)

    return sent
