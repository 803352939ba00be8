"""The guard: every kind of request of browsers and programs, and the guard of a real server."""

import http.client
import itertools
from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mt_pipeline.web.guard import hosts_of, refusal
from mt_pipeline_tests.web.parts import printing, serving

HOSTS = hosts_of(3000, ["dagster.example.org"])
OWN = "http://127.0.0.1:3000"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
"""What pages may send to other sites without asking first."""

# What a browser says of a request, by who asked: (what it is, its headers).
FROM_OWN_PAGE = {
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
}
ELSEWHERE = ("cross-site", "same-site")
SUBRESOURCES = [
    (mode, dest)
    for mode in ("no-cors", "cors", "navigate", "websocket")
    for dest in ("image", "script", "style", "iframe", "frame", "embed", "object", "empty", "video")
]


def status(method: str, **headers: str) -> int:
    """Return the guard's HTTP status for a request; 200 if it is allowed.

    Args:
        method: HTTP method.
        headers: headers, with `_` for `-`; `host` defaults to ours.
    """
    given = {
        "host": "127.0.0.1:3000",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    refused = refusal(method, Headers(given), HOSTS)
    return 200 if refused is None else refused.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:3000", "localhost:3000", "LOCALHOST:3000", "[::1]:3000", "dagster.example.org"],
)
def test_a_host_of_ours_is_answered(host: str):
    assert status("GET", host=host) == 200


@pytest.mark.parametrize(
    "host",
    "|127.0.0.1|localhost|127.0.0.1:3001|127.0.0.1:80|localhost.:3000|evil.example|"
    "evil.example:3000|dagster.example.org:3000|dagster.example.org.evil.example|"
    "127.0.0.1:3000.evil.example|0.0.0.0:3000|127.1:3000|2130706433:3000|user@127.0.0.1:3000|"
    "127.0.0.1:3000, evil.example|[::ffff:127.0.0.1]:3000".split("|"),
)
def test_any_other_host_is_refused_whoever_asks(host: str):
    """A name of somebody else that leads here is how a page reads answers across sites."""
    for method, more in itertools.product(("GET", "POST"), ({}, FROM_OWN_PAGE)):
        assert status(method, host=host, content_type="application/json", **_named(more)) == 421


def test_without_a_host_nothing_is_answered():
    assert refusal("GET", Headers({}), HOSTS).status == 421


def test_on_the_port_of_http_browsers_leave_it_out():
    assert hosts_of(80) >= {"127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"}
    assert "127.0.0.1" not in hosts_of(3000)


@pytest.mark.parametrize("origin", [OWN, "https://127.0.0.1:3000"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_own_origin_may_ask(method: str, origin: str):
    assert status(method, origin=origin, content_type="application/json") == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://127.0.0.1:3001",
        "http://localhost:3000",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:3000.evil.example",
        "http://evil.example/http://127.0.0.1:3000",
        "file://",
        "chrome-extension://abc",
        "http://dagster.example.org",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "site",
    [
        {},
        FROM_OWN_PAGE,
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ],
)
def test_any_other_origin_is_refused_whatever_else_is_said(
    method: str, origin: str, site: Mapping[str, str]
):
    assert status(method, origin=origin, content_type="application/json", **_named(site)) == 403


@pytest.mark.parametrize("site", [*ELSEWHERE, "of-a-later-browser", ""])
@pytest.mark.parametrize(("mode", "dest"), SUBRESOURCES)
def test_what_pages_of_other_sites_load_is_refused(site: str, mode: str, dest: str):
    """Pictures, scripts, frames, fetches, and handshakes of WebSockets, which name no method."""
    for method in ("GET", "HEAD", "POST"):
        assert (
            status(
                method,
                sec_fetch_site=site,
                sec_fetch_mode=mode,
                sec_fetch_dest=dest,
                content_type="application/json",
            )
            == 403
        )


@pytest.mark.parametrize("site", [*ELSEWHERE, "none", "same-origin"])
def test_a_link_or_a_bookmark_is_followed(site: str):
    assert (
        status("GET", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")
        == 200
    )


@pytest.mark.parametrize("site", ELSEWHERE)
@pytest.mark.parametrize("content_type", [*FORMS, "application/json"])
def test_a_form_of_another_site_is_refused(site: str, content_type: str):
    headers = {
        "sec_fetch_site": site,
        "sec_fetch_mode": "navigate",
        "sec_fetch_dest": "document",
        "content_type": content_type,
    }
    assert status("POST", **headers) == 403
    assert status("POST", origin="http://evil.example", **headers) == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "content_type",
    [
        *FORMS,
        "",
        "text/plain;application/json",
        "text/plain; x=application/json",
        "application/jsonp",
        "application/graphql",
    ],
)
def test_what_a_form_could_send_is_refused_where_the_browser_says_nothing_of_itself(
    method: str, content_type: str
):
    """Browsers of long ago; and Dagster takes any type for JSON that has the word in it."""
    assert status(method, content_type=content_type) == 415
    assert status(method, content_type=content_type, sec_fetch_site="none") == 415
    assert status(method, content_type=content_type, **_named(FROM_OWN_PAGE)) == 200
    assert status(method, content_type=content_type, origin=OWN) == 200


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_a_program_asks_with_json(content_type: str):
    assert status("POST", content_type=content_type) == 200


@pytest.mark.parametrize(
    "name", ["host", "origin", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"]
)
def test_a_header_that_is_there_twice_is_refused(name: str):
    """One of them might be looked at here, and the other by the app."""
    own = {
        "host": "127.0.0.1:3000",
        "origin": OWN,
        "content-type": "application/json",
        **FROM_OWN_PAGE,
    }
    raw = [*own.items(), (name, own[name])]
    assert (
        refusal(
            "POST", Headers(raw=[(key.encode(), value.encode()) for key, value in raw]), HOSTS
        ).status
        == 400
    )


@pytest.mark.parametrize(
    ("headers", "cure"),
    [
        ({}, "list that in MT_UI_HOSTS, such as dagster.example.org, and start the service again"),
        ({"host": "localhost:3000", "origin": "null"}, "Open this page itself"),
        ({"host": "localhost:3000"}, "Send it with the header Content-Type: application/json"),
    ],
)
def test_a_refusal_says_what_to_do(headers: Mapping[str, str], cure: str):
    refused = refusal("POST", Headers(headers), HOSTS)

    assert refused is not None
    assert refused.message.startswith("Refused: ")
    assert cure in refused.message


def test_the_layer_refuses_before_the_app_sees_anything_and_passes_on_the_rest():
    seen: list[tuple[str, str]] = []

    async def page(request: Request) -> PlainTextResponse:
        seen.append((request.method, (await request.body()).decode()))
        return PlainTextResponse("page")

    with serving(Starlette(routes=[Route("/", page, methods=["GET", "POST"])])) as port:
        assert answer(port, "GET") == (200, "page")
        assert answer(port, "POST", '{"a": 1}', content_type="application/json") == (200, "page")
        assert answer(port, "POST", "a=1", content_type="text/plain")[0] == 415
        assert answer(port, "GET", host="evil.example")[0] == 421
        assert answer(port, "GET", origin="http://evil.example")[0] == 403
        assert (
            answer(
                port, "OPTIONS", origin="http://evil.example", access_control_request_method="POST"
            )[0]
            == 403
        )

    assert seen == [("GET", ""), ("POST", '{"a": 1}')]


def test_every_answer_tells_browsers_to_keep_it_from_other_sites():
    async def page(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("page", headers={"Content-Security-Policy": "script-src 'none'"})

    with serving(Starlette(routes=[Route("/", page)])) as port:
        for host in (None, "evil.example"):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/", headers={"Host": host} if host else {})
            headers = connection.getresponse().headers
            connection.close()
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            # What the app says of its own page stays: browsers obey both.
            own = [] if host else ["script-src 'none'"]
            assert headers.get_all("Content-Security-Policy") == [*own, "frame-ancestors 'self'"]


def test_a_websocket_opens_for_own_pages_and_programs_alone():
    async def echo(socket_: WebSocket) -> None:
        await socket_.accept()
        await socket_.send_text(await socket_.receive_text())
        await socket_.close()

    with serving(Starlette(routes=[WebSocketRoute("/", echo)])) as port:
        for origin in (None, f"http://127.0.0.1:{port}"):
            with connect(f"ws://127.0.0.1:{port}/", origin=origin) as opened:
                opened.send("hello")
                assert opened.recv() == "hello"
        for origin in ("http://evil.example", f"http://localhost:{port}", "null"):
            with (
                pytest.raises(InvalidStatus) as refused,
                connect(f"ws://127.0.0.1:{port}/", origin=origin),
            ):
                pass
            assert refused.value.response.status_code == 403


@pytest.mark.parametrize("token", [None, "t0ken"])
def test_a_websocket_that_is_refused_prints_nothing(token: str | None):
    """Each that any page tried was a line of an error: the server takes no page for an answer."""
    with serving(Starlette(), token=token) as port, printing() as printed:
        for name, value in {"Origin": "http://evil.example", "Authorization": "wrong"}.items():
            with (
                pytest.raises(InvalidStatus) as refused,
                connect(f"ws://127.0.0.1:{port}/", additional_headers={name: value}),
            ):
                pass
            assert refused.value.response.status_code == 403
        answer(port, "GET")  # the server has one thread

    assert printed == []


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def answer(port: int, method: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        method, "/", body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    response = connection.getresponse()
    try:
        return response.status, response.read().decode()
    finally:
        connection.close()
