"""The token of pages: its file, and how browsers and programs use it."""

import http.client
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mt_pipeline.web.token import link, load
from mt_pipeline_tests.web.parts import serving

TOKEN = "t0ken-of-the-tests"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"page {request.url.path}?{request.url.query}")

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    routes = [WebSocketRoute("/socket", echo), Route("/{path:path}", page, methods=["GET", "POST"])]
    with serving(Starlette(routes=routes), token=TOKEN) as port:
        yield port


def ask(port: int, path: str = "/", *, method: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(
        method, f"http://127.0.0.1:{port}{path}", headers=named, allow_redirects=False, timeout=60
    )


def test_the_file_is_for_its_owner_alone_and_the_token_stays(tmp_path: Path):
    token = load(tmp_path / "new" / "ui_token")

    assert stat.S_IMODE((tmp_path / "new" / "ui_token").stat().st_mode) == 0o600
    assert len(token) >= 43  # 256 bits
    assert load(tmp_path / "new" / "ui_token") == token
    assert load(tmp_path / "ui_token") != token
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["ui_token"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_token_that_others_could_read_is_replaced(tmp_path: Path, mode: int):
    file = tmp_path / "ui_token"
    file.write_text(TOKEN)
    file.chmod(mode)

    assert load(file) != TOKEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", "tökén".encode()])
def test_a_file_with_what_no_cookie_can_carry_is_replaced(tmp_path: Path, damage: bytes):
    """The service could not start, or answered its own link with an error."""
    file = tmp_path / "ui_token"
    file.touch(0o600)
    file.write_bytes(damage)

    assert load(file).isascii()
    assert load(file) == load(file)


def test_a_file_without_a_token_is_filled(tmp_path: Path):
    file = tmp_path / "ui_token"
    file.touch(0o600)

    assert load(file) == load(file) != ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer "},
        {"authorization": TOKEN},
        {"authorization": "Bearer t\xf6ken"},
        {"cookie": f"mt_ui_1={TOKEN}"},
        {"cookie": "mt_ui_{port}=wrong"},
        {"cookie": "mt_ui_{port}="},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_token_one_sentence_says_where_it_is(
    port: int, headers: dict[str, str], method: str
):
    answer = ask(
        port,
        method=method,
        content_type="application/json",
        **{name: value.format(port=port) for name, value in headers.items()},
    )

    assert answer.status_code == 401
    assert answer.text.startswith(
        "This page needs its token. Open the link that `mt-pipeline run` printed. "
    )
    assert "dagster/ui_token" in answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "set-cookie" not in answer.headers


def test_a_program_sends_it_as_a_bearer(port: int):
    for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        answer = ask(
            port, "/a?b=c", method="POST", authorization=value, content_type="application/json"
        )
        assert (answer.status_code, answer.text) == (200, "page /a?b=c")


def test_the_link_becomes_a_cookie_and_the_token_leaves_the_address(port: int):
    answer = ask(port, link("", TOKEN))

    assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/", "")
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name == f"mt_ui_{port}={TOKEN}"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert not [attribute for attribute in attributes if attribute.startswith("Domain")]
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == (
        "no-store",
        "no-referrer",
    )
    assert ask(port, "/", cookie=f"other=1; {name}").text == "page /?"


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        (
            "/assets/a%2Fb/x?view=partitions&token={}&partition=k%2F%23+1",
            "/assets/a%2Fb/x?view=partitions&partition=k%2F%23+1",
        ),
        ("/?token=again&token={}&empty=", "/?empty="),
        ("//evil.example/?token={}", "/evil.example/"),
        ("/%5Cevil.example?token={}", "/%5Cevil.example"),
        ("/\\evil.example?token={}", "/%5Cevil.example"),
    ],
)
def test_the_link_leads_to_the_page_that_was_asked_and_to_no_other_host(
    port: int, asked: str, page: str
):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("GET", asked.format(TOKEN))
    connection.endheaders()
    response = connection.getresponse()

    assert (response.status, response.headers["location"]) == (303, page)
    connection.close()


def test_a_token_in_the_address_that_is_wrong_lets_nobody_in_and_does_no_harm_to_who_is_in(
    port: int,
):
    assert ask(port, "/?token=wrong").status_code == 401
    answer = ask(port, "/a?token=wrong", cookie=f"mt_ui_{port}={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/a")
    assert "set-cookie" not in answer.headers
    assert (
        ask(port, f"/?token={TOKEN}", method="POST", content_type="application/json").status_code
        == 401
    )


def test_who_follows_a_link_from_another_site_is_led_on_by_a_page_that_loads_itself(port: int):
    """The browser sends the cookie only then. Without a cookie, the page never reloads twice."""
    answer = ask(
        port,
        "/runs",
        sec_fetch_site="cross-site",
        sec_fetch_mode="navigate",
        sec_fetch_dest="document",
    )

    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "http-equiv=refresh" in answer.text
    assert (
        "http-equiv"
        not in ask(
            port,
            "/runs",
            sec_fetch_site="same-origin",
            sec_fetch_mode="navigate",
            sec_fetch_dest="document",
        ).text
    )


def test_the_health_check_needs_no_token_and_says_nothing_more(port: int):
    assert ask(port, "/server_info").status_code == 200
    for path in ("/server_info/", "/server_info/x", "//server_info", "/x/server_info"):
        assert ask(port, path).status_code == 401
    assert ask(port, "/server_info", host="evil.example").status_code == 421


def test_another_site_is_refused_with_the_token_too(port: int):
    cookie = f"mt_ui_{port}={TOKEN}"
    assert ask(port, cookie=cookie, origin="http://evil.example").status_code == 403
    assert (
        ask(
            port,
            cookie=cookie,
            sec_fetch_site="same-site",
            sec_fetch_mode="no-cors",
            sec_fetch_dest="image",
        ).status_code
        == 403
    )


def test_a_websocket_needs_the_token(port: int):
    for headers in ({"Cookie": f"mt_ui_{port}={TOKEN}"}, {"Authorization": f"Bearer {TOKEN}"}):
        with connect(f"ws://127.0.0.1:{port}/socket", additional_headers=headers) as opened:
            opened.send("hello")
            assert opened.recv() == "hello"
    for path in ("/socket", f"/socket?token={TOKEN}"):
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}{path}"):
            pass
        assert refused.value.response.status_code == 403
