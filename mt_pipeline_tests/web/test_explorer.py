"""From a page of Dagster to the explorer: the link, and one sign-in for both."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mt_pipeline.web import addresses, explorer
from mt_pipeline.web.token import TokenGate
from mt_pipeline_tests.web.test_reports import served

KEYS = (
    "kitchen/a b?&#%/\u202e.pcap",
    "//evil.example.org/x",
    "\r\nLocation: http://evil.example.org",
    "@evil.example.org",
)


@pytest.fixture(scope="module")
def dagster() -> Iterator[int]:
    with served(Starlette(routes=explorer.routes(3001))) as port:
        yield port


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_a_link_leads_to_the_explorer_under_the_name_that_the_browser_uses(dagster: int, key: str):
    response = requests.get(
        f"http://127.0.0.1:{dagster}{addresses.explorer('kitchen', key)}",
        headers={"Host": f"lab.example.org:{dagster}"},
        allow_redirects=False,
        timeout=30,
    )
    assert response.status_code == 307
    leads_to = urlsplit(response.headers["Location"])
    assert (leads_to.scheme, leads_to.netloc, leads_to.path) == (
        "http",
        "lab.example.org:3001",
        "/",
    )
    assert parse_qs(leads_to.query) == {"e": ["kitchen"], "capture": [f"is:{key}"]}


def test_who_signed_in_at_dagster_is_signed_in_at_the_explorer():
    page = Route("/", lambda _: PlainTextResponse("in"))
    gates = [TokenGate(Starlette(routes=[page]), token="secret", port=3000) for _ in range(2)]
    with served(gates[0]) as first, served(gates[1]) as second, requests.Session() as browser:
        explored = f"http://127.0.0.1:{second}/"
        assert browser.get(explored, timeout=30).status_code == 401
        assert browser.get(f"http://127.0.0.1:{first}/?token=secret", timeout=30).text == "in"
        assert browser.get(explored, timeout=30).text == "in"
