"""The token in a real browser: after a visit by the link, pages work as if there were no token."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from mt_pipeline.web.token import link
from mt_pipeline_tests.browsers import chromium, page
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.web.parts import serving

TOKEN = "t0ken-of-the-tests"


@pytest.fixture(scope="module")
def ui() -> Iterator[str]:
    async def shown(request: Request) -> HTMLResponse:
        return HTMLResponse(
            "<!doctype html><title>ours</title><link rel=icon href='data:,'>"
            f"<p>our page {request.url.path}"
        )

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("connected")
        await socket.close()

    with serving(
        Starlette(routes=[WebSocketRoute("/socket", echo), Route("/{path:path}", shown)]),
        token=TOKEN,
    ) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, ui: str) -> str:
    """Write a page of another site with a link to ours, such as a report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(f"<!doctype html><title>report</title><a id=link href='{ui}/rows'>rows</a>")
    return path.as_uri()


def follow(browser: webdriver.Chrome, elsewhere: str) -> None:
    page(browser, elsewhere, "rows")
    browser.find_element("id", "link").click()


def test_without_the_token_a_link_leads_to_a_sentence_and_not_round_and_round(
    browser: webdriver.Chrome, ui: str, elsewhere: str
):
    """The first test of this browser: it has no cookie yet."""
    assert "Open the link that `mt-pipeline run` printed" in page(
        browser, ui, "This page needs its token"
    )

    follow(browser, elsewhere)

    assert eventually(lambda: "This page needs its token" in browser.page_source, seconds=60), (
        browser.page_source
    )


@pytest.fixture(scope="module")
def signed_in(browser: webdriver.Chrome, ui: str) -> webdriver.Chrome:
    page(browser, link(ui, TOKEN), "our page /")
    return browser


def test_the_token_leaves_the_address_and_no_script_sees_it(signed_in: webdriver.Chrome, ui: str):
    page(signed_in, link(ui, TOKEN), "our page /")

    assert signed_in.current_url == f"{ui}/"
    assert signed_in.execute_script("return document.cookie") == ""
    [cookie] = signed_in.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["domain"], cookie["path"]) == (
        True,
        "Strict",
        "127.0.0.1",
        "/",
    )


def test_pages_of_ours_and_their_websockets_work(signed_in: webdriver.Chrome, ui: str):
    page(signed_in, f"{ui}/runs", "our page /runs")
    script = """const done = arguments[0], opened = new WebSocket(`ws://${location.host}/socket`);
        opened.onmessage = message => done(message.data);
        opened.onerror = () => done('refused');"""

    assert signed_in.execute_async_script(script) == "connected"
    assert (
        signed_in.execute_async_script(
            "fetch('/data').then(answer => answer.status).then(arguments[0])"
        )
        == 200
    )


def test_a_link_on_a_page_of_another_site_opens_ours(signed_in: webdriver.Chrome, elsewhere: str):
    """The cookie does not come along at first; by the page that loads itself it does."""
    follow(signed_in, elsewhere)

    assert eventually(lambda: "our page /rows" in signed_in.page_source, seconds=60), (
        signed_in.page_source
    )


def test_the_link_with_the_token_works_from_another_site_too(
    signed_in: webdriver.Chrome, ui: str, tmp_path: Path
):
    """A mail, for example; of a browser that has no cookie."""
    signed_in.delete_all_cookies()
    path = tmp_path / "mail.html"
    path.write_text(f"<!doctype html><a id=link href='{link(ui, TOKEN)}'>rows</a>")

    follow(signed_in, path.as_uri())

    assert eventually(lambda: "our page /" in signed_in.page_source, seconds=60), (
        signed_in.page_source
    )
    assert signed_in.current_url == f"{ui}/"
