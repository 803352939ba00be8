"""A token for web pages, for machines with several accounts: all of them can reach loopback.

Only its owner can read the file with the token. A browser gets it from the first link and then
sends it as a cookie. Programs send it as a bearer token.
"""

import os
import secrets
import stat
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mt_pipeline.system.atomic import whole
from mt_pipeline.system.private import OTHERS
from mt_pipeline.web.guard import refusing

FILE = "ui_token"
"""Name of the file, in the folder of Dagster."""

_PARAMETER = "token"
_COOKIE_SECONDS = 30 * 24 * 3600
_OPEN = ("/server_info",)  # returns versions alone, for health checks

_NEEDED = (
    "This page needs its token. Open the link that `mt-pipeline run` printed. "
    f"The token is in the file dagster/{FILE} of the data folder, too: "
    f"put ?{_PARAMETER}=… after the address, or send Authorization: Bearer … .\n"
)
# A browser does not send the cookie with a link from another site. It does when the page reloads.
_RELOAD = (
    "<!doctype html><meta charset=utf-8><title>One moment</title>"
    "<meta http-equiv=refresh content=0><p>One moment: this page loads itself."
)


def load(path: Path) -> str:
    """Return the token in its file. Write a new token if none exists or others could read it."""
    try:
        status = path.stat()
        is_private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & OTHERS
        if is_private and (token := path.read_text().strip()) and token.isascii():
            return token
    except (FileNotFoundError, UnicodeDecodeError):
        pass  # a cookie cannot carry what a damaged file holds
    token = secrets.token_urlsafe(32)
    with whole(path) as partial:
        partial.touch(0o600, exist_ok=False)
        partial.write_text(token + "\n")
    return token


def link(address: str, token: str) -> str:
    """Return the link that signs in."""
    return f"{address}/?{urlencode({_PARAMETER: token})}"


class TokenGate:
    """ASGI middleware that refuses requests without the token.

    Args:
        app: any ASGI app, behind a `Guard` against requests from other sites.
        token: expected once in a link, or with each request as a cookie or a bearer token.
        port: part of the cookie's name, because browsers send cookies to all ports of a host.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app, self._token, self._cookie = app, token.encode(), f"mt_ui_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, sign it in, or refuse it."""
        app = (
            self._app
            if scope["type"] == "lifespan" or scope["path"] in _OPEN
            else self._answer(HTTPConnection(scope))
        )
        await app(scope, receive, send)

    def _answer(self, request: HTTPConnection) -> ASGIApp:
        cookie, bearer = request.cookies.get(self._cookie, ""), _bearer(request.headers)
        known = self._is_token(cookie) or self._is_token(bearer)
        is_get = request.scope["type"] == "http" and request.scope["method"] == "GET"
        if is_get and _PARAMETER in request.query_params:
            signs_in = self._is_token(request.query_params[_PARAMETER])
            if known or signs_in:
                return self._without_token(request, signs_in=signs_in)
        if known:
            return self._app
        if request.headers.get("sec-fetch-site") == "cross-site":
            return refusing(HTMLResponse(_RELOAD, 401, {"Cache-Control": "no-store"}))
        return refusing(
            PlainTextResponse(
                _NEEDED, 401, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
            )
        )

    def _without_token(self, request: HTTPConnection, *, signs_in: bool) -> Response:
        """Redirect to the same page without the token in its address."""
        parameters = parse_qsl(request.url.query, keep_blank_values=True)
        query = urlencode([(name, value) for name, value in parameters if name != _PARAMETER])
        # Two slashes at the beginning would name another host.
        path = "/" + request.scope["raw_path"].decode("latin-1").lstrip("/")
        page = f"{path}?{query}" if query else path
        response = RedirectResponse(
            page, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )
        if signs_in:
            response.set_cookie(
                self._cookie,
                self._token.decode(),
                max_age=_COOKIE_SECONDS,
                httponly=True,
                samesite="strict",
            )
        return response

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self._token)


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
