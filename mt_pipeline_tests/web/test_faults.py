"""What an app cannot take is answered with a sentence, and no trace is printed anywhere."""

import http.client
import socket
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mt_pipeline.web.faults import Faults
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.web.parts import printing, serving


class OwnError(Exception):
    """An error of an app's own class that the sender is to blame for."""


ERRORS = [
    ValueError("Invalid path"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    KeyError("text"),
    AttributeError("'list' object has no attribute 'get'"),
    TypeError("argument of type 'int'\nis not iterable"),
    RecursionError("too deep"),
    AssertionError(),
    OwnError("not a sequence"),
    ValueError("\x1b[31m \ud800 " + "x" * 1000),
]
ended: list[str] = []


async def failing(request: Request) -> Response:
    raise ERRORS[int(request.path_params["number"])]


async def reading(request: Request) -> Response:
    try:
        return PlainTextResponse(await request.body())
    finally:
        ended.append("reading")


async def away(_request: Request) -> Response:
    raise OSError("the database is away")


async def talking(opened: WebSocket) -> None:
    await opened.accept()
    number = await opened.receive_text()
    raise ERRORS[int(number)]


async def shut(opened: WebSocket) -> None:
    raise ERRORS[0]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    both = ["GET", "POST"]
    routes = [
        Route("/failing/{number}", failing, methods=both),
        Route("/reading", reading, methods=both),
        Route("/away", away),
        WebSocketRoute("/talking", talking),
        WebSocketRoute("/shut", shut),
        Mount("/static", StaticFiles(directory="/proc/self/fd")),
    ]
    faults = Middleware(Faults, of_senders=(OwnError,))
    with serving(Starlette(routes=routes, middleware=[faults])) as port:
        yield port


def ask(port: int, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def printed(port: int) -> Iterator[list[str]]:
    """Collect what is printed."""
    with printing() as lines:
        yield lines


def settled(port: int) -> None:
    """Wait for what the server does after an answer: it has one thread."""
    assert ask(port, "GET", "/reading") == (200, "")


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_request_that_a_handler_cannot_take_is_answered_and_nothing_is_printed(
    port: int, number: int, printed: list[str]
):
    for method, status, begin in (
        ("GET", 404, "There is nothing at this address ("),
        ("POST", 400, "Refused: this cannot be used ("),
    ):
        got, text = ask(port, method, f"/failing/{number}")
        assert (got, text.startswith(begin + type(ERRORS[number]).__name__)) == (status, True)
        assert text.count("\n") == 1
        assert text.removesuffix("\n").isprintable()
        assert len(text) < 500
    settled(port)
    assert printed == []


def test_an_error_of_the_app_itself_passes(port: int, printed: list[str]):
    assert ask(port, "GET", "/away") == (500, "Internal Server Error")
    settled(port)
    assert len(printed) == 1


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_message_that_a_websocket_cannot_take_closes_it(
    port: int, number: int, printed: list[str]
):
    with connect(f"ws://127.0.0.1:{port}/talking") as opened:
        opened.send(str(number))
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv(timeout=60)

    assert closed.value.rcvd.code == 1007
    assert closed.value.rcvd.reason.startswith(type(ERRORS[number]).__name__)
    settled(port)
    assert printed == []


@pytest.mark.parametrize("path", ["shut", "static/x", "reading", "nowhere"])
def test_what_is_no_websocket_refuses_to_be_one(port: int, path: str, printed: list[str]):
    """Files are served by HTTP alone, and their server asserts that."""
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}/{path}"):
        pass

    assert refused.value.response.status_code == 403
    settled(port)
    assert printed == []


def test_a_program_that_leaves_before_it_has_sent_all_is_no_error(port: int, printed: list[str]):
    before = len(ended)
    head = f"POST /reading HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())

    assert eventually(lambda: len(ended) > before, seconds=60)
    settled(port)
    assert printed == []
