"""What an app cannot take, as a sentence for who sent it, and not as a trace on the terminal.

A link on any page can lead to an address that the app's own pages never ask for.
"""

from typing import TypeAlias

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mt_pipeline.system.terminal import visible

Errors: TypeAlias = tuple[type[Exception], ...]

_OF_SENDERS: Errors = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RecursionError,
)
"""What handlers raise that take for granted what they are sent."""

_INVALID = 1007  # code of a WebSocket that is closed
_REASON = 123  # bytes that it may say why
_LONGEST = 300


class Faults:
    """The middleware. It goes next to the handlers, so that no other layer sees these errors.

    Args:
        app: any ASGI app. Errors of its own, such as those of its database, pass.
        of_senders: more classes of errors that the sender is to blame for.
    """

    def __init__(self, app: ASGIApp, *, of_senders: Errors = ()) -> None:
        self._app, self._of_senders = app, (*_OF_SENDERS, *of_senders)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer in place of a handler that cannot take it."""
        sent: set[str] = set()

        async def noting(message: Message) -> None:
            sent.add(message["type"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            pass  # nobody waits for an answer
        except self._of_senders as error:
            if sent & {"http.response.start", "websocket.close"}:
                raise
            text = " ".join(str(error).split())[:_LONGEST]
            said = visible(f"{type(error).__name__}: {text}")
            if scope["type"] == "websocket":
                reason = said.encode()[:_REASON].decode(errors="ignore")
                await send({"type": "websocket.close", "code": _INVALID, "reason": reason})
            else:
                await _answer(scope["method"], said)(scope, receive, send)


def _answer(method: str, said: str) -> PlainTextResponse:
    if method in ("GET", "HEAD"):
        return PlainTextResponse(
            f"There is nothing at this address ({said}). Look for a mistake in it.\n", 404
        )
    return PlainTextResponse(
        f"Refused: this cannot be used ({said}). Send a JSON object that Dagster describes.\n", 400
    )
