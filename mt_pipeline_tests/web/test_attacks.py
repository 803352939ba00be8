"""Pages of another site can neither change nor read anything of a service. Its own pages work."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from selenium import webdriver

from mt_pipeline.captures.records import State
from mt_pipeline_tests.browsers import GRAPH, chromium, click, page
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.pipelines import STAGES, capture
from mt_pipeline_tests.services import Running, eventually, running
from mt_pipeline_tests.web.attacks import KEY, by_get, hostile, mutations, state

DAMAGED = "kitchen/damaged.pcapng"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
REBOUND = "rebound.example"
_POST = """const post = query => fetch('/graphql',
    {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({query})});
"""

# Headers of each way in which a page of another site can send GET. Old browsers send none of them.
WAYS = {
    "an old browser": {},
    "a picture": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "no-cors",
        "Sec-Fetch-Dest": "image",
    },
    "a frame": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "iframe",
        "Accept": "text/html",
    },
    "another port": {
        "Sec-Fetch-Site": "same-site",
        "Sec-Fetch-Mode": "no-cors",
        "Sec-Fetch-Dest": "image",
    },
    "a link": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    },
    "a page": {"Accept": "text/html"},
    "another name": {"Host": "evil.example"},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start a service with a capture that is done, and one that failed."""
    with running(tmp_path_factory.mktemp("service"), MT_BACKENDS="parquet") as started:
        capture(started.data / "inbox" / KEY)
        (started.data / "inbox" / DAMAGED).write_bytes(GARBAGE)
        ends = {KEY: State.DONE, DAMAGED: State.FAILED}
        assert eventually(
            lambda: all(
                (record := started.record(key)) and record.state is end for key, end in ends.items()
            )
        )
        assert eventually(
            lambda: all(
                run["status"] in ("SUCCESS", "FAILURE")
                for run in state(started)["runsOrError"]["results"]
            )
        )
        yield started


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    notes = {"browser": "ALL", "performance": "ALL"}
    rules = f"host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    with chromium(
        tmp_path_factory.mktemp("profile"), "window-size=1600,1200", rules, notes=notes
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def sent(service: Running) -> dict[str, str]:
    """Write the mutations once: who attacks has read them off a page of ours."""
    return mutations(service)


@pytest.mark.parametrize("way", WAYS)
def test_a_mutation_by_get_changes_nothing(service: Running, sent: dict[str, str], way: str):
    """Regression: Dagster executes it for any site, so an image could stop the sensor."""
    before = state(service)

    responses = {
        what: requests.get(by_get(service, mutation), headers=WAYS[way], timeout=60)
        for what, mutation in sent.items()
    }

    assert [what for what in responses if "__typename" in responses[what].text] == []
    # What asks for a page gets the one on which people write queries.
    assert [
        what
        for what in responses
        if responses[what].status_code not in (403, 405, 421)
        and "<html" not in responses[what].text.lower()
    ] == []
    assert state(service) == before


@pytest.mark.parametrize("content_type", [*FORMS, "text/plain;application/json", None])
def test_a_mutation_by_a_form_changes_nothing(
    service: Running, sent: dict[str, str], content_type: str | None
):
    """Also where an old browser names no origin."""
    before = state(service)
    headers = {} if content_type is None else {"Content-Type": content_type}

    for mutation in sent.values():
        by_address = requests.post(
            by_get(service, mutation), headers=headers, data=b"x", timeout=60
        )
        by_body = requests.post(
            f"{service.ui}/graphql",
            headers=headers,
            data=json.dumps({"query": mutation}),
            timeout=60,
        )
        assert (by_address.status_code, by_body.status_code) == (415, 415)

    assert state(service) == before


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_site_changes_nothing_and_reads_nothing(
    service: Running, browser: webdriver.Chrome, sent: dict[str, str], name: str
):
    """To a browser, another port of 127.0.0.1 is the same site, and `localhost` is another site."""
    before = state(service)

    with hostile(service.ui, list(sent.values())) as attacker:
        browser.get(f"http://{name}:{attacker.port}/")
        assert eventually(lambda: browser.title.startswith("["), seconds=240), browser.title

        assert json.loads(browser.title) == []
    assert state(service) == before


def test_a_name_that_leads_here_reads_nothing(
    service: Running, browser: webdriver.Chrome, sent: dict[str, str]
):
    """DNS rebinding: to the browser the page that attacks and the service are of one origin."""
    before, mutation = state(service), sent["stop the sensor"]
    script = f"""{_POST} Promise.all([post(arguments[0]), fetch('/server_info'), fetch('/')])
        .then(answers => answers.map(answer => answer.status)).then(arguments[1])"""

    shown = page(browser, f"http://{REBOUND}:{service.settings.dagster_port}/", "Refused")

    assert "Refused: this page answers to 127.0.0.1" in shown
    assert browser.execute_async_script(script, mutation) == [421, 421, 421]
    assert state(service) == before


def test_a_link_on_a_page_of_another_site_opens_ours(service: Running, browser: webdriver.Chrome):
    """From Grafana on another port, and from a report, which is a file."""
    url = f"{service.ui}/assets/questdb_packets?view=partitions&partition={quote(KEY, safe='')}"
    link = f"<a id=link href='{url}'>rows</a>"

    for where in (
        f"http://localhost:{service.settings.dagster_port}/server_info",
        "data:text/html,page",
        _file(service, link),
    ):
        browser.get(where)
        if not where.startswith("file:"):
            browser.execute_script("document.body.innerHTML = arguments[0]", link)
        browser.find_element("id", "link").click()
        assert eventually(
            lambda: KEY in browser.find_element("tag name", "body").text, seconds=60
        ), where


def _file(service: Running, text: str) -> str:
    path = service.data.parent / "report.html"
    path.write_text(f"<!doctype html><title>report</title>{text}")
    return path.as_uri()


def test_no_page_of_another_site_shows_ours_in_a_frame(service: Running, browser: webdriver.Chrome):
    """Or it could have somebody click on what they do not see."""
    page(
        browser,
        _file(service, f"<iframe id=frame src='{service.ui}/runs'></iframe><p>around</p>"),
        "around",
    )
    browser.switch_to.frame("frame")
    try:
        assert "Launchpad" not in browser.page_source
        assert (
            "Refused: a page of another site asked" in browser.page_source
            or "refused" in browser.page_source.lower()
        )
    finally:
        browser.switch_to.default_content()


PAGES = {
    GRAPH: STAGES,
    "/assets/tshark_json?view=partitions": (KEY,),
    "/runs": ("ingest_captures",),
    "/locations/mt_pipeline/sensors/new_captures": ("new_captures",),
    "/locations/mt_pipeline/jobs/ingest_captures/partitions": ("Total partitions",),
    "/deployment/locations": ("mt_pipeline",),
    "/overview/activity/timeline": ("Overview",),
}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_the_ui_loads_without_a_complaint(
    service: Running, browser: webdriver.Chrome, path: str
):
    browser.get_log("browser")

    page(browser, service.ui + path, *PAGES[path])

    assert [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ] == []


def test_the_page_of_a_run_follows_it_over_a_websocket(service: Running, browser: webdriver.Chrome):
    run = state(service)["runsOrError"]["results"][0]["runId"]
    browser.get_log("performance")

    page(
        browser, f"{service.ui}/runs/{run}", "RUN_"
    )  # what a run says comes by a subscription alone

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    opened = [
        message["params"]["response"]["status"]
        for message in messages
        if message["method"] == "Network.webSocketHandshakeResponseReceived"
    ]
    assert set(opened) == {101}


def test_the_page_for_queries_works(service: Running, browser: webdriver.Chrome):
    page(browser, f"{service.ui}/graphql", "GraphiQL")
    script = f"{_POST} post('{{version}}').then(answer => answer.json()).then(arguments[0])"

    assert set(browser.execute_async_script(script)["data"]) == {"version"}


def test_a_run_is_launched_by_clicks(service: Running, browser: webdriver.Chrome):
    before = service.record(DAMAGED)
    assert before is not None

    page(
        browser,
        f"{service.ui}/locations/mt_pipeline/jobs/ingest_captures/partitions",
        "Total partitions",
    )
    for text in ("Materialize…", "Failed", "Launch"):
        click(browser, text)

    assert eventually(
        lambda: (
            (record := service.record(DAMAGED))
            and record.run != before.run
            and record.state is State.FAILED
        )
    )


def test_code_is_loaded_anew_from_the_page(service: Running):
    response = service.query(
        'mutation {reloadRepositoryLocation(repositoryLocationName: "mt_pipeline") '
        "{__typename ...on WorkspaceLocationEntry {loadStatus}}}"
    )

    assert response["reloadRepositoryLocation"] == {
        "__typename": "WorkspaceLocationEntry",
        "loadStatus": "LOADED",
    }


def test_from_our_own_page_the_same_mutations_are_executed(
    service: Running, browser: webdriver.Chrome, sent: dict[str, str]
):
    """The last test of this service: so each of the attacks would have worked."""
    page(browser, f"{service.ui}/runs", "Runs")
    for what, mutation in sent.items():
        before = state(service)

        response = browser.execute_async_script(
            f"{_POST} post(arguments[0]).then(answer => answer.text()).then(arguments[1])", mutation
        )

        assert eventually(lambda before=before: state(service) != before, seconds=60), (
            what,
            response,
        )
