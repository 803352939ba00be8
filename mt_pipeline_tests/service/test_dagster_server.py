"""Dagster's server answers whatever it is sent, and prints nothing of it on the terminal."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mt_pipeline_tests.services import Running, running

DEEP = "[" * 100_000
OPERATION = {"type": "start", "id": "1", "payload": {"query": "{version}"}}
CAPTURED = 'subscription {capturedLogs(logKey: ["a"]) {stdout}}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), MT_BACKENDS="parquet") as started:
        yield started


@pytest.fixture
def quiet(service: Running) -> Iterator[None]:
    """Check that the web server has printed nothing, also of earlier tests: a trace comes late."""
    yield
    assert service.query("{version}") is not None  # whatever it was sent, it goes on
    lines = service.output.read_text().partition("Ctrl-C stops everything.\n")[2].splitlines()
    # Those of Dagster's other programs begin with the time.
    assert [line for line in lines if line and not line.startswith("20")] == []


def ask(service: Running, method: str, path: str, body: str | bytes | None = None) -> int:
    """Send a path and a body as they are, and return the status of the answer."""
    port = service.settings.dagster_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.read() != b"Internal Server Error"
        return response.status
    finally:
        connection.close()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        *('"x"', "5", "null", "", "{", DEEP, '[{"query": "{version}"}]'),
        *('{"query": 5}', '{"query": ["a"]}', '{"query": "\\ud800"}', '{"query": "{"}', "{}"),
        '{"query": "{version}", "variables": 5}',
        '{"query": "{version}", "variables": "[1]"}',
        '{"query": "{version}", "variables": "{"}',
        '{"query": "{version}", "operationName": [1]}',
    ],
)
def test_what_is_no_request_of_graphql_is_refused(service: Running, body: str | bytes):
    """Each was an answer of 500 and 46 to 98 lines on the terminal."""
    assert ask(service, "POST", "/graphql", body) == 400


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "path",
    [
        *("/download_debug/x", "/download_debug/%00", "/download_debug/%ED%A0%80"),
        *("/logs/", "/logs/a.out", "/logs/a/out", "/logs/%00/out", f"/logs/{'a' * 5000}/out"),
        *("/logs/%2e%2e/%2e%2e/dagster.yaml", "/logs/..%2f..%2fout"),
    ],
)
def test_an_address_that_leads_nowhere_is_not_found(service: Running, path: str):
    assert ask(service, "GET", path) == 404


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
@pytest.mark.parametrize(
    ("key", "body"),
    [
        *(("a", body) for body in (b"\xff", "{", "5", "null", DEEP, '{"metadata": 5}')),
        *(("", f'{{"asset_key": {key}}}') for key in ("5", "[5]", '{"a": 1}')),
        ("a", '{"partition": "\\ud800", "passed": true, "check_name": "c", "severity": "X"}'),
    ],
)
def test_what_is_no_event_of_an_asset_is_refused(
    service: Running, kind: str, key: str, body: str | bytes
):
    assert ask(service, "POST", f"/report_asset_{kind}/{key}", body) == 400


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        *("x", "5", "[]", "null", '"a"', DEEP, '{"type": "stop", "id": [1]}'),
        *('{"type": "start"}', json.dumps({**OPERATION, "payload": 5})),
        *(json.dumps({**OPERATION, "payload": payload}) for payload in ({}, {"query": 5})),
        json.dumps({**OPERATION, "payload": {"query": CAPTURED, "variables": 5}}),
        json.dumps({**OPERATION, "id": ["1"]}),
        json.dumps({**OPERATION, "id": "\ud800"}),
    ],
)
def test_a_message_that_a_websocket_cannot_take_closes_it(service: Running, message: str | bytes):
    with connect(f"{service.ui.replace('http', 'ws')}/graphql", subprotocols=["graphql-ws"]) as own:
        own.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            own.recv(timeout=60)

    assert closed.value.rcvd.code == 1007


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("path", "origin"),
    [("/graphql", "http://evil.example"), ("/static/x", None), ("/reports/a.html", None)],
)
def test_a_websocket_that_is_refused_prints_nothing(
    service: Running, path: str, origin: str | None
):
    address = f"{service.ui.replace('http', 'ws')}{path}"
    with pytest.raises(InvalidStatus) as refused, connect(address, origin=origin):
        pass

    assert refused.value.response.status_code == 403


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,  # https://, by any page
        b"GET ]x HTTP/1.1\r\nHost: %b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: 50\r\n\r\n{",
        b"POST /graphql HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_or_breaks_off_prints_nothing(service: Running, sent: bytes):
    host = service.ui.removeprefix("http://")
    with socket.create_connection(("127.0.0.1", service.settings.dagster_port), 60) as opened:
        opened.sendall(sent.replace(b"%b", host.encode()))
        opened.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while opened.recv(65_536):
                pass
