"""Reports as pages of a web server: the right file, inert in the browser, and no other file."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from selenium.webdriver.common.by import By
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from mt_pipeline.web.addresses import report as address
from mt_pipeline.web.reports import routes
from mt_pipeline_tests.browsers import chromium, page
from mt_pipeline_tests.services import eventually, free_ports

PAGE = (
    "<!doctype html><meta charset=utf-8><title>Report: kitchen</title>"
    "<style>p { color: rgb(1, 2, 3) }</style><p>Traffic over time"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a report, and other files that nobody may read."""
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "kitchen.html").write_text(PAGE)
    (reports / "UPPER.html").write_text("secret")
    (reports / f"{'x' * 65}.html").write_text("secret")
    (reports / "notes.txt").write_text("secret")
    (reports / "folder.html").mkdir()
    (reports / ".html").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    (reports / "link.html").symlink_to(tmp_path / "secret.html")
    return reports


@contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """Serve an app on a free port."""
    [port] = free_ports(1)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """Serve the folder beside another page, as Dagster's are."""
    linking = Route(
        "/",
        lambda _: HTMLResponse(
            f'<title>Other</title><a href="{address("kitchen")}">the report</a>'
        ),
    )
    with served(Starlette(routes=[*routes(folder), linking])) as port:
        yield port


def asked(port: int, path: str, method: str = "GET") -> tuple[int, http.client.HTTPMessage, str]:
    """Ask for a path as it is: nothing is made shorter on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def test_a_report_is_a_page_that_can_do_nothing(port: int):
    status, headers, text = asked(port, "/reports/kitchen.html")

    assert (status, text) == (200, PAGE)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = [directive.strip() for directive in headers["Content-Security-Policy"].split(";")]
    assert {
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "sandbox allow-popups",
    } <= set(policy)
    assert not any("script" in directive for directive in policy)
    assert (
        headers["X-Content-Type-Options"],
        headers["Referrer-Policy"],
        headers["Cache-Control"],
    ) == ("nosniff", "no-referrer", "no-store")


def test_a_report_that_is_not_there_says_how_it_is_made(port: int):
    status, headers, text = asked(port, "/reports/cellar.html")

    assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert text.startswith(
        "There is no report of cellar here. Materialize the asset experiment_report for it"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../secret",
            "..%2fsecret",
            "%2e%2e%2fsecret",
            "..%5csecret",
            "%2e%2e/secret",
            "/etc/passwd",
            "kitchen.html%00",
            "kitchen%00",
            "%00",
        ),
        *(
            "UPPER",
            "x" * 65,
            "",
            "folder",
            "link",
            ".",
            "..",
            "kitchen%0a",
            "kitchen%20",
            "k%C4%B1tchen",
            quote("<script>alert(1)</script>"),
        ),
    ],
)
def test_no_other_file_is_shown_whatever_is_asked_for(port: int, name: str):
    status, _, text = asked(port, f"/reports/{name}.html")

    assert status == 404
    assert "secret" not in text.replace("..", "")
    assert "<script" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/reports",
        "/reports/",
        "/reports/notes.txt",
        "/reports/../secret.html",
        "/reports//kitchen.html",
    ],
)
def test_there_is_no_list_and_no_other_kind_of_file(port: int, path: str):
    status, _, text = asked(port, path)

    assert status == 404
    assert "secret" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_report_can_be_read_alone(port: int, folder: Path, method: str):
    assert asked(port, "/reports/kitchen.html", method)[0] == 405
    assert (folder / "kitchen.html").read_text() == PAGE


def test_a_browser_opens_it_by_a_link_and_runs_nothing_in_it(
    port: int, folder: Path, tmp_path: Path
):
    """Regression: browsers refuse links to local files, so Dagster's pages could not open it."""
    (folder / "kitchen.html").write_text(
        f"{PAGE}<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"
    )
    with chromium(tmp_path / "profile") as browser:
        page(browser, f"http://127.0.0.1:{port}/", "the report")
        browser.find_element(By.LINK_TEXT, "the report").click()

        assert eventually(lambda: browser.title == "Report: kitchen")
        paragraph = browser.find_element(By.TAG_NAME, "p")
        assert (paragraph.text, paragraph.value_of_css_property("color")) == (
            "Traffic over time",
            "rgba(1, 2, 3, 1)",
        )
        assert browser.title == "Report: kitchen"
