"""A page in a browser: drawn, without messages or requests; on paper, on a phone, in the dark."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from threading import Thread

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server import Server
from mt_pipeline_tests.backends.questdb.parts import Answers, load, packet
from mt_pipeline_tests.report.parts import HOSTILE, NAME, page_of

PHONE, DESK = 375, 1200


@pytest.fixture(scope="module")
def report(questdb: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of an experiment with names of all kinds, more than the page shows."""
    database = Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest")
    names = [
        *HOSTILE,
        *(
            f"a-rather-long-name-of-a-server-{number}.cdn.example{number}.com"
            for number in range(40)
        ),
    ]
    answers: Answers = {
        ("address", f"93.184.216.{number}"): {
            **{
                "provider": "offline",
                "geo_country": name,
                "geo_lon": number * 53.0 % 340 - 170,
                "geo_lat": number * 29.0 % 130 - 55,
            }
        }
        for number, name in enumerate(names, 1)
    }
    packets = [
        packet(
            **{
                "number": number,
                "ip_dst": f"93.184.216.{number}",
                "tcp_stream": str(number),
                "frame_len": str(1500 - number),
                NAME: name,
            },
            **{
                "eth_src": f"02:00:00:00:00:{number:02x}",
                "eth_dst": "02:00:00:00:01:00",
                "ip_src": f"192.168.1.{number}",
            },
        )
        for number, name in enumerate(names, 1)
    ]
    load(
        database,
        packets,
        capture=f"report browser/{'deep/' * 30}{HOSTILE[0]}",
        experiment="report_browser",
        answers=answers,
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(database, "report_browser"), encoding="utf-8")
    return path


@pytest.fixture
def shown(browser: webdriver.Chrome, report: Path) -> Iterator[webdriver.Chrome]:
    """Show the page on a desk, in the light."""
    look(browser, width=DESK)
    requests(browser)
    browser.get(report.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def look(
    browser: webdriver.Chrome, *, width: int = DESK, scheme: str = "light", media: str = ""
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )


def requests(browser: webdriver.Chrome) -> list[str]:
    """Return the addresses requested since the last call, whether or not anybody answered."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def sizes(browser: webdriver.Chrome, selector: str) -> list[tuple[float, float]]:
    """Return width and height of the visible elements of a selector."""
    return [(box["width"], box["height"]) for box in boxes(browser, selector)]


def boxes(browser: webdriver.Chrome, selector: str) -> list[dict[str, float]]:
    """Return the bounding boxes of the visible elements of a selector."""
    script = """return [...document.querySelectorAll(arguments[0])]
        .filter(e => e.getClientRects().length).map(e => e.getBoundingClientRect())"""
    return browser.execute_script(script, selector)


def overlap(box: dict[str, float], other: dict[str, float]) -> bool:
    """Return whether two bounding boxes overlap."""
    return (
        box["left"] < other["right"]
        and other["left"] < box["right"]
        and box["top"] < other["bottom"]
        and other["top"] < box["bottom"]
    )


def luminance(browser: webdriver.Chrome, what: str) -> float:
    """Return the relative luminance of a colour of the body, from 0 to 1."""
    rgb = browser.execute_script(
        f"return getComputedStyle(document.body).{what}.match(/[\\d.]+/g).slice(0, 3).map(Number)"
    )
    red, green, blue = (
        (part / 255 / 12.92) if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in rgb
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(browser: webdriver.Chrome) -> float:
    dark, bright = sorted((luminance(browser, "color"), luminance(browser, "backgroundColor")))
    return (bright + 0.05) / (dark + 0.05)


def test_it_asks_for_nothing_and_its_console_is_silent(shown: webdriver.Chrome, report: Path):
    assert requests(shown) == [report.as_uri()]
    assert shown.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert shown.get_log("browser") == []
    assert shown.title == "Report: report_browser"


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """Listen for requests: where, and what was asked for."""
    paths: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def test_its_policy_stops_whatever_a_page_may_ask_for(
    shown: webdriver.Chrome, asked: tuple[str, list[str]], tmp_path: Path
):
    """In a page without the policy the same picture is asked for."""
    server, paths = asked
    shown.execute_script(
        "document.body.append(Object.assign(new Image(), {src: arguments[0]}))", f"{server}/report"
    )
    (tmp_path / "free.html").write_text(f"<!doctype html><img src={server}/free>")
    assert "Content Security Policy" in "".join(
        entry["message"] for entry in shown.get_log("browser")
    )
    shown.get((tmp_path / "free.html").as_uri())

    assert paths == ["/free"]
    shown.get_log("browser")


def test_charts_and_bars_are_drawn(shown: webdriver.Chrome):
    charts = sizes(shown, "svg.chart")
    assert len(charts) == 2, "the other two are for phones"
    assert all(width > 900 and height > 200 for width, height in charts)
    assert (
        len(
            [
                1
                for width, height in sizes(shown, "svg.chart path[style*='--series-']")
                if width > 10 and height > 10
            ]
        )
        >= 9
    )
    assert all(
        width > 0 and height > 0
        for width, height in sizes(shown, "svg.swatch, svg.swatch rect, svg.bar")
    )
    assert max(width for width, _ in sizes(shown, "svg.bar rect")) > 100


def test_a_chart_has_the_colours_of_its_legend(shown: webdriver.Chrome):
    script = """const elements = [...document.querySelectorAll(arguments[0])];
        return [...new Set(elements.map(e => getComputedStyle(e).fill))]"""
    legend = shown.execute_script(script, ".legend rect")

    assert len(legend) == 8
    assert set(legend) <= set(shown.execute_script(script, "svg.chart path[style*='--series-']"))


def test_on_a_phone_the_page_itself_does_not_scroll_sideways_and_charts_can_be_read(
    shown: webdriver.Chrome,
):
    look(shown, width=PHONE)

    assert shown.execute_script("return document.documentElement.scrollWidth") <= PHONE
    assert len(sizes(shown, "svg.chart")) == 2
    assert all(300 < width <= PHONE for width, _ in sizes(shown, "svg.chart"))
    assert all(height >= 10 for _, height in sizes(shown, "svg.chart text"))
    assert all(width <= PHONE for width, _ in sizes(shown, ".bars, h1, p, .legend, .wide-table"))
    assert max(width for width, _ in sizes(shown, "#table-of-destinations")) > PHONE, (
        "what is wide scrolls by itself"
    )


def test_the_map_has_land_and_circles_and_the_numbers_of_the_list_wherever_they_do_not_touch(
    shown: webdriver.Chrome,
):
    counts = []
    for width in (DESK, PHONE):
        look(shown, width=width)
        [(map_width, map_height)], [(land_width, _)] = (
            sizes(shown, "svg.map"),
            sizes(shown, "svg.map .land"),
        )
        assert 0.85 * width < map_width <= width
        assert map_height > 0.38 * map_width
        assert land_width > 0.9 * map_width
        assert len(sizes(shown, "svg.map circle")) == len(HOSTILE) + 40
        assert min(circle[0] for circle in sizes(shown, "svg.map circle")) > 2
        numbers = boxes(shown, "svg.map text")
        assert all(box["height"] >= 10 for box in numbers)
        assert not any(overlap(box, other) for box, other in combinations(numbers, 2))
        counts.append(len(numbers))
    assert 3 < counts[1] < counts[0] <= 15
    number = shown.execute_script(
        "return getComputedStyle(document.querySelector('.numbered .number'), '::before').content"
    )
    assert "counter(place)" in number


def test_the_numbers_of_the_map_are_those_of_the_list(shown: webdriver.Chrome):
    script = """const titles = [...document.querySelectorAll('svg.map circle')]
        .map(e => [e.getAttribute('cx'), e.getAttribute('cy'), e.textContent]);
    const at = (x, y) => titles.find(title => title[0] == x && title[1] == y)[2];
    return [...document.querySelectorAll('svg.map text')]
        .map(e => [Number(e.textContent), at(e.getAttribute('x'), e.getAttribute('y'))])"""
    listed = [
        row.find_element(By.TAG_NAME, "bdi").text
        for row in shown.find_elements(By.CSS_SELECTOR, ".numbered tbody th:has(.number)")
    ]

    for number, title in shown.execute_script(script):
        assert " ".join(title.rpartition(": ")[0].split()) == " ".join(listed[number - 1].split())


def test_in_the_dark_it_is_dark_and_on_paper_it_is_not(shown: webdriver.Chrome):
    assert luminance(shown, "backgroundColor") > 0.9
    assert contrast(shown) > 10
    look(shown, scheme="dark")
    assert luminance(shown, "backgroundColor") < 0.05
    assert contrast(shown) > 10
    look(shown, scheme="dark", media="print")
    assert luminance(shown, "backgroundColor") > 0.9
    assert contrast(shown) > 10


def test_who_cannot_see_it_is_told(shown: webdriver.Chrome):
    assert shown.execute_script("return document.documentElement.lang") == "en"
    assert all(
        chart.get_attribute("aria-label")
        for chart in shown.find_elements(By.CSS_SELECTOR, "svg[role=img]")
    )
    assert not shown.find_elements(By.CSS_SELECTOR, "svg:not([role=img]):not([aria-hidden=true])")
    assert not shown.find_elements(
        By.CSS_SELECTOR, "thead th:not([scope=col]), tbody th:not([scope=row])"
    )
    assert shown.execute_script(
        "const ids = [...document.querySelectorAll('[id]')].map(e => e.id); "
        "return ids.length === new Set(ids).size"
    )


def test_a_name_that_turns_the_direction_of_text_turns_nothing_else(shown: webdriver.Chrome):
    shown.execute_script("document.body.dir = 'ltr'")
    cells = shown.find_elements(By.CSS_SELECTOR, "#table-of-destinations td:nth-child(2) bdi")

    assert r"a\u202egnp.exe\u200f.example.com" in [cell.text for cell in cells]
    assert {cell.value_of_css_property("unicode-bidi") for cell in cells} == {"isolate"}
