"""A token for pages of ours, for machines with several accounts: loopback is open to all of them.

It lies in a file that its owner alone can read, comes with the first link, and stays in a cookie. Programs send it as a bearer.
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

FILE = "ui_token"
"""Name of the file, in the folder of Dagster."""

_PARAMETER = "token"
_COOKIE_SECONDS = 30 * 24 * 3600
_OPEN = ("/server_info",)  # says versions alone, to health checks

_NEEDED = (
    "This page needs its token. Open the link that `mt-pipeline run` printed. "
    f"The token is in the file dagster/{FILE} of the data folder, too: put ?{_PARAMETER}=… after the address, or send Authorization: Bearer … .\n"
)
# The cookie does not come along when somebody follows a link from another site; it does when this page loads itself.
_ONCE_MORE = "<!doctype html><meta charset=utf-8><title>One moment</title><meta http-equiv=refresh content=0><p>One moment: this page loads itself."


def kept(path: Path) -> str:
    """Read the token from its file; a new one is made if there is none, or if others could have read it."""
    try:
        found = path.stat()
        if (
            found.st_uid == os.geteuid()
            and not stat.S_IMODE(found.st_mode) & 0o077
            and (token := path.read_text().strip())
        ):
            return token
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(32)
    with whole(path) as partial:
        partial.touch(0o600, exist_ok=False)
        partial.write_text(token + "\n")
    return token


def link(address: str, token: str) -> str:
    """Make the link that signs in."""
    return f"{address}/?{urlencode({_PARAMETER: token})}"


class TokenGate:
    """A layer that lets nobody in who does not have the token.

    Args:
        app: any ASGI app, for requests that another layer has found not to come from other sites.
        token: to be sent once in a link, or with each request as a cookie or a bearer.
        port: names the cookie: browsers send cookies to all ports of a host.
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

    def _answer(self, asked: HTTPConnection) -> ASGIApp:
        known = self._is_right(asked.cookies.get(self._cookie, "")) or self._is_right(
            _bearer(asked.headers)
        )
        if (
            asked.scope["type"] == "http"
            and asked.scope["method"] == "GET"
            and _PARAMETER in asked.query_params
        ):
            signs_in = self._is_right(asked.query_params[_PARAMETER])
            if known or signs_in:
                return self._without_token(asked, signs_in=signs_in)
        if known:
            return self._app
        if asked.headers.get("sec-fetch-site") == "cross-site":
            return HTMLResponse(_ONCE_MORE, 401, {"Cache-Control": "no-store"})
        return PlainTextResponse(
            _NEEDED, 401, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
        )

    def _without_token(self, asked: HTTPConnection, *, signs_in: bool) -> Response:
        """Lead to the same page without the token in its address."""
        query = urlencode(
            [
                (name, value)
                for name, value in parse_qsl(asked.url.query, keep_blank_values=True)
                if name != _PARAMETER
            ]
        )
        # Two slashes at the beginning would name another host.
        page = (
            "/"
            + asked.scope["raw_path"].decode("latin-1").lstrip("/")
            + (f"?{query}" if query else "")
        )
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

    def _is_right(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self._token)


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
