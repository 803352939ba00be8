"""The explorer's page in a real browser, over the real server as a process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import pytest
import requests
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from mt_pipeline_tests.browsers import chromium
from mt_pipeline_tests.building.files import in_time_order, write_pcap
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded, view_of
from mt_pipeline_tests.pipelines import environment
from mt_pipeline_tests.services import eventually, free_ports

NOTES = {"browser": "ALL", "performance": "ALL"}
LABELS = (
    "<img src=x onerror=window.attacked=1>",
    "(none)",
    "(others)",
    "__proto__",
    "constructor",
    "=HYPERLINK(1)",
    "\u202egnp.exe",
    "'; DROP TABLE captures; --",
    "&lt;b&gt; %3Cb%3E #?&=+",
    " two  spaces ",
    "\u00e9" * 127,
)
QUERY = {"e": FIRST, "name": "is:www.netflix.com", "by": "country", "measure": "packets"}


@contextmanager
def serving(loaded: Loaded, port: int) -> Iterator[str]:
    """Start the explorer over the Parquet files; yield its address."""
    settings = loaded.lab.settings(backends=("parquet",), enrichment="offline")
    more = {"MT_BACKENDS": "parquet", "MT_EXPLORER_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "mt_pipeline.service.explorer_server"],
        env=environment(settings, **more),
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return requests.get(f"{address}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        assert eventually(answers)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def address(loaded: Loaded) -> Iterator[str]:
    with serving(loaded, free_ports(1)[0]) as served:
        yield served


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    profile = tmp_path_factory.mktemp("profile")
    with chromium(profile, "window-size=1300,1000", notes=NOTES) as browser:
        yield browser


@pytest.fixture
def browser(opened: webdriver.Chrome, address: str) -> Iterator[webdriver.Chrome]:
    """Return the browser; afterwards, no error is in its console, and it asked our server alone."""
    opened.get_log("browser")
    opened.get_log("performance")
    yield opened
    assert [entry["message"] for entry in opened.get_log("browser")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert asked
    assert {url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))} == set()


@pytest.fixture(scope="module")
def labelled(loaded: Loaded) -> str:
    """Load an experiment whose folders have hostile names."""
    experiment, keys = "labelled", []
    for number, label in enumerate(LABELS):
        keys.append(f"{experiment}/{label}/a.pcap")
        path = loaded.lab.inbox / keys[-1]
        path.parent.mkdir(parents=True)
        session = tls_session("www.netflix.com", client_port=41_000 + number)
        write_pcap(path, in_time_order([session]))
    workspace = loaded.lab.workspace(backends=("parquet",), enrichment="offline")
    ran = loaded.lab.run(*keys, workspace=workspace)
    assert ran.success, ran.failure
    return experiment


def show(browser: webdriver.Chrome, address: str, query: dict[str, str] | str) -> None:
    text = query if isinstance(query, str) else urlencode(query)
    browser.get(f"{address}/?{text}")
    complete(browser)


def complete(browser: webdriver.Chrome) -> None:
    """Wait until the view of the present link is drawn."""
    done = "return performance.getEntriesByName('complete').length"
    before = browser.execute_script("return window.seen ?? 0")
    assert eventually(lambda: browser.execute_script(done) > before, seconds=60), text_of(browser)
    browser.execute_script(f"window.seen = (() => {{ {done} }})()")


def text_of(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def totals(browser: webdriver.Chrome) -> dict[str, str]:
    """Return the numbers of the tiles, read at once: the page may draw them anew at any moment."""
    script = """return Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) => [
        tile.querySelector("span").textContent, tile.querySelector("b").textContent]))"""
    shown: dict[str, str] = browser.execute_script(script)
    return shown


def rows_of(browser: webdriver.Chrome, dimension: str) -> list[str]:
    """Return the values that a table shows, as the text of their elements."""
    script = (
        "return [...document.querySelectorAll(`[data-dimension='${arguments[0]}'] .row .label`)]"
        ".map((label) => label.firstChild.textContent)"
    )
    shown: list[str] = browser.execute_script(script, dimension)
    return shown


def row(browser: webdriver.Chrome, dimension: str, value: str) -> object:
    """Return the button of a value; by its text in the page, whatever characters it has."""
    script = (
        "return [...document.querySelectorAll(`[data-dimension='${arguments[0]}'] button.only`)]"
        ".find((button) => button.querySelector('.label').firstChild.textContent === arguments[1])"
    )
    return browser.execute_script(script, dimension, value)


def press(browser: webdriver.Chrome, element: object, *modifiers: str) -> None:
    """Click an element in the middle of the window, with modifier keys held."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    actions = ActionChains(browser)
    for key in modifiers:
        actions.key_down(key)
    actions.click(element)  # type: ignore[arg-type]
    for key in modifiers:
        actions.key_up(key)
    actions.perform()


def query_of(browser: webdriver.Chrome) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(browser.current_url).query, keep_blank_values=True)


def test_the_page_shows_what_the_server_counts(
    browser: webdriver.Chrome, address: str, loaded: Loaded
) -> None:
    show(browser, address, {"e": FIRST})
    counted = view_of(loaded.store("parquet"), f"e={FIRST}")["totals"]
    shown = totals(browser)
    for title in ("Packets", "Conversations", "Countries"):
        assert shown[title] == f"{counted[title.lower()]:,}"  # type: ignore[index]
    assert "Choose another" not in text_of(browser)


def test_a_click_keeps_one_value_and_with_a_key_all_but_it(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": FIRST})
    all_of_them = totals(browser)["Packets"]
    press(browser, row(browser, "name", "www.netflix.com"))
    complete(browser)
    assert ("name", "is:www.netflix.com") in query_of(browser)
    only = totals(browser)["Packets"]
    assert "Name is www.netflix.com" in text_of(browser)
    browser.back()
    complete(browser)
    assert totals(browser)["Packets"] == all_of_them
    press(browser, row(browser, "name", "www.netflix.com"), Keys.SHIFT)
    complete(browser)
    assert ("name", "not:www.netflix.com") in query_of(browser)
    without = totals(browser)["Packets"]
    count = [int(number.replace(",", "")) for number in (only, without, all_of_them)]
    assert count[0] + count[1] == count[2]


def test_several_values_are_chosen_and_taken_off_one_by_one(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": FIRST})
    for value in ("www.netflix.com", "www.youtube.com"):
        press(browser, row(browser, "name", value))
        complete(browser)
    filters = [value for name, value in query_of(browser) if name == "name"]
    assert filters == ["is:www.netflix.com", "is:www.youtube.com"]
    chips = browser.find_elements(By.CSS_SELECTOR, ".chip button")
    assert len(chips) == 2
    press(browser, chips[0])
    complete(browser)
    assert [value for name, value in query_of(browser) if name == "name"] == ["is:www.youtube.com"]


def test_a_link_shows_the_same_in_a_browser_that_never_saw_it(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    show(browser, address, QUERY | {"tab": "matrix", "find.remote": "1"})
    press(browser, row(browser, "protocol", "tls"))
    complete(browser)
    with chromium(tmp_path, "window-size=1300,1000") as fresh:
        fresh.get(browser.current_url)
        complete(fresh)
        assert text_of(fresh) == text_of(browser)


@pytest.mark.parametrize("label", LABELS, ids=ascii)
def test_a_name_is_a_value_and_nothing_else(
    browser: webdriver.Chrome, address: str, labelled: str, label: str
) -> None:
    show(browser, address, {"e": labelled, "limit.label": "100", "by": "label"})
    assert label in rows_of(browser, "label")
    press(browser, row(browser, "label", label))
    complete(browser)
    assert ("label", f"is:{label}") in query_of(browser)
    chip = "return document.querySelector('.chip bdi').textContent"
    assert browser.execute_script(chip) == label
    assert totals(browser)["Conversations"] == "1"
    assert browser.execute_script("return window.attacked") is None


def test_a_drag_zooms_and_a_double_click_takes_it_back(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": SECOND, "axis": "time"})
    surface = browser.find_element(By.CSS_SELECTOR, ".chart .overlay")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", surface)
    width = surface.rect["width"]
    actions = ActionChains(browser).move_to_element_with_offset(surface, -width // 4, 0)
    actions.click_and_hold().move_by_offset(int(width // 3), 0).release().perform()
    complete(browser)
    zoomed = dict(query_of(browser))
    assert int(zoomed["since"]) < int(zoomed["until"])
    surface = browser.find_element(By.CSS_SELECTOR, ".chart .overlay")
    ActionChains(browser).double_click(surface).perform()
    complete(browser)
    assert "since" not in dict(query_of(browser))


def test_no_two_moments_of_the_axis_are_called_the_same(
    browser: webdriver.Chrome, address: str, labelled: str
) -> None:
    show(browser, address, {"e": labelled, "axis": "time"})
    texts = browser.find_elements(By.CSS_SELECTOR, ".chart text[text-anchor=middle]")
    labels = [text.text for text in texts]
    assert labels
    assert len(set(labels)) == len(labels), labels


def test_keys_zoom_and_move(browser: webdriver.Chrome, address: str) -> None:
    show(browser, address, {"e": FIRST, "axis": "time"})
    stretches = []
    for key in ("+", Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        browser.find_element(By.CSS_SELECTOR, ".chart").send_keys(key)
        complete(browser)
        found = dict(query_of(browser))
        stretches.append((int(found["since"]), int(found["until"])))
    assert stretches[1][0] > stretches[0][0]
    assert stretches[2][0] < stretches[1][0]
    browser.find_element(By.CSS_SELECTOR, ".chart").send_keys(Keys.ESCAPE)
    complete(browser)
    assert "since" not in dict(query_of(browser))


def test_a_conversation_shows_its_packets_and_a_link_opens_it(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": SECOND})
    press(browser, browser.find_element(By.CSS_SELECTOR, "#details tbody .link"))
    shown = (By.CSS_SELECTOR, "dialog .packets tbody tr")
    assert eventually(lambda: browser.find_elements(*shown), seconds=30)
    count = len(browser.find_elements(*shown))
    assert f"1\u2013{count} of {count} packets" in browser.find_element(By.TAG_NAME, "dialog").text
    link = browser.current_url
    browser.get("about:blank")
    browser.get(link)
    assert eventually(lambda: len(browser.find_elements(*shown)) == count, seconds=30)


def test_two_experiments_lie_over_each_other(browser: webdriver.Chrome, address: str) -> None:
    show(browser, address, {"e": FIRST, "vs": SECOND})
    text = text_of(browser)
    assert "Stop comparing" in text
    assert "since the start" in browser.find_element(By.CSS_SELECTOR, ".chart").text
    words = [element.text for element in browser.find_elements(By.CSS_SELECTOR, ".amount small")]
    assert "gone" in words


def test_an_experiment_is_found_among_many_by_its_name(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": FIRST})
    press(browser, browser.find_element(By.CSS_SELECTOR, "#choices .pick"))
    find = browser.find_element(By.CSS_SELECTOR, "dialog input[type=search]")
    find.send_keys("too")
    names = browser.find_elements(By.CSS_SELECTOR, ".picker .link")
    assert [name.text for name in names] == [SECOND]
    press(browser, names[0])
    complete(browser)
    assert dict(query_of(browser))["e"] == SECOND


def test_answers_that_arrive_disturb_no_typing(browser: webdriver.Chrome, address: str) -> None:
    """An answer to the first letters put these back into the field, over those typed since."""
    show(browser, address, {"e": FIRST})
    field = "[data-dimension='name'] input[type=search]"
    find = browser.find_element(By.CSS_SELECTOR, field)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", find)
    find.click()
    for letter in "netflix":
        ActionChains(browser).send_keys(letter).pause(0.25).perform()
    assert eventually(lambda: rows_of(browser, "name") == ["www.netflix.com"], seconds=30)
    assert browser.find_element(By.CSS_SELECTOR, field).get_property("value") == "netflix"


def test_what_was_clicked_keeps_the_focus_and_its_place(
    browser: webdriver.Chrome, address: str
) -> None:
    show(browser, address, {"e": FIRST})
    chosen = row(browser, "device", rows_of(browser, "device")[0])
    press(browser, chosen)
    complete(browser)
    where = "return document.activeElement.getBoundingClientRect().top"
    key = "return document.activeElement.dataset.key"
    before, top = browser.execute_script(key), browser.execute_script(where)
    assert before
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    complete(browser)
    assert browser.execute_script(key) == before
    assert abs(browser.execute_script(where) - top) < 2


def test_an_open_page_shows_a_capture_that_is_loaded_later(
    browser: webdriver.Chrome, address: str, loaded: Loaded
) -> None:
    workspace = loaded.lab.workspace(backends=("parquet",), enrichment="offline")
    for number, key in enumerate(("growing/a.pcap", "growing/b.pcap")):
        path = loaded.lab.inbox / key
        path.parent.mkdir(exist_ok=True)
        session = tls_session("www.netflix.com", client_port=42_000 + number)
        write_pcap(path, in_time_order([session]))
        assert loaded.lab.run(key, workspace=workspace).success
        if number == 0:
            show(browser, address, {"e": "growing"})
            assert totals(browser)["Conversations"] == "1"
    assert eventually(lambda: totals(browser)["Conversations"] == "2", seconds=90)


def test_tabs_of_a_comparison_show_both_sides(browser: webdriver.Chrome, address: str) -> None:
    both = f"{FIRST} \u2192 {SECOND}"
    for tab in ("matrix", "map", "new", "conversations"):
        show(browser, address, {"e": FIRST, "vs": SECOND, "tab": tab})
        assert both in browser.find_element(By.ID, "tab-content").text
    count = "return document.querySelector('#tab-content caption').textContent"
    of_first = browser.execute_script(count)
    side = browser.find_element(By.CSS_SELECTOR, "#tab-content select")
    Select(side).select_by_visible_text(SECOND)
    assert eventually(lambda: browser.execute_script(count) != of_first, seconds=30)
    assert ("side", "1") in query_of(browser)


def test_map_and_matrix_of_a_comparison_show_which_side_is_larger(
    browser: webdriver.Chrome, address: str
) -> None:
    both = {"e": FIRST, "vs": SECOND}
    show(browser, address, both | {"tab": "map"})
    colors = "return [...document.querySelectorAll('.place')].map((one) => [one.classList[1], "
    drawn = browser.execute_script(f"{colors}getComputedStyle(one).fill])")
    assert {side for side, _ in drawn} == {"first", "second"}
    assert len({color for _, color in drawn}) == 2
    halves = "return [...document.querySelectorAll('.place')].map((one) => one.getBBox()).every("
    assert browser.execute_script(f"{halves}(box) => Math.abs(box.width * 2 - box.height) < 0.01)")
    show(browser, address, both | {"tab": "matrix"})
    cells = browser.find_elements(By.CSS_SELECTOR, ".matrix .shaded:has(b)")
    assert cells
    for cell in cells:
        first, second = cell.text.split(" → ")
        larger = second if "more-second" in (cell.get_attribute("class") or "") else first
        assert cell.find_element(By.TAG_NAME, "b").text == larger


def test_what_is_new_over_time_can_be_read_on_a_phone(
    browser: webdriver.Chrome, address: str
) -> None:
    """Regression: the picture was made smaller, with its letters, to less than half."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        show(browser, address, {"e": FIRST, "vs": SECOND, "tab": "new"})
        box = "getBoundingClientRect()"
        heights = (
            f"return [...document.querySelectorAll('.growth text')].map((t) => t.{box}.height)"
        )
        assert min(browser.execute_script(heights)) > 10
        table = ".arrivals th[scope=row]"
        assert browser.execute_script(
            f"return [...document.querySelectorAll('{table}')].every((one) => "
            f"one.{box}.left >= 0 && one.scrollWidth <= one.clientWidth + 1)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_captures_that_failed_are_named_with_the_reason(
    browser: webdriver.Chrome, address: str, loaded: Loaded
) -> None:
    lab, workspace = loaded.lab, loaded.lab.workspace(backends=("parquet",), enrichment="offline")
    lab.put("holey/good.pcap")
    (lab.inbox / "holey" / "bad.pcap").write_bytes(GARBAGE)
    assert not lab.run("holey/good.pcap", "holey/bad.pcap", workspace=workspace).success
    show(browser, address, {"e": "holey"})
    assert "Not all files are in view: 1 failed." in text_of(browser)
    press(browser, browser.find_element(By.CSS_SELECTOR, "#missing button"))
    shown = (By.CSS_SELECTOR, "#tab-content tbody tr")
    assert eventually(lambda: len(browser.find_elements(*shown)) == 2, seconds=30)
    first = browser.find_elements(*shown)[0].text
    assert first.startswith("holey/bad.pcap failed")
    assert "bad.pcap" in first.removeprefix("holey/bad.pcap failed")


def test_a_comparison_is_turned_around(browser: webdriver.Chrome, address: str) -> None:
    show(browser, address, {"e": FIRST, "vs": SECOND})
    swap = "//button[contains(., 'Swap')]"
    press(browser, browser.find_element(By.XPATH, swap))
    complete(browser)
    found = dict(query_of(browser))
    assert (found["e"], found["vs"]) == (SECOND, FIRST)


def test_a_picture_of_the_chart_says_what_it_shows(browser: webdriver.Chrome, address: str) -> None:
    show(browser, address, {"e": FIRST, "by": "protocol"})
    script = """
        const done = arguments[arguments.length - 1];
        import("/page/picture.js").then(({ picture }) => done(picture(
            document.querySelector("#timeline svg"),
            { title: "A & <B>", legend: [{ title: "tls", color: "#123456" }], ink: "black",
              background: "white" },
        )));
    """
    made = browser.execute_async_script(script)
    drawn = ElementTree.fromstring(made["text"])  # noqa: S314  our own page made it
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A & <B>", "tls"} <= set(texts)
    assert int(drawn.get("height") or 0) == made["height"] > 300


@pytest.mark.parametrize(
    "query",
    [
        {"e": FIRST},
        {"e": FIRST, "vs": SECOND, "tab": "matrix"},
        {"e": FIRST, "tab": "map", "about": "remote", "remote": "is:93.184.216.34"},
        {"e": FIRST, "vs": SECOND, "tab": "new"},
        {"e": FIRST, "tab": "captures"},
    ],
    ids=["view", "comparison", "map", "new", "captures"],
)
@pytest.mark.parametrize(("theme", "width"), [("light", 1300), ("dark", 390)])
def test_everybody_can_read_and_use_it(
    browser: webdriver.Chrome, address: str, query: dict[str, str], theme: str, width: int
) -> None:
    browser.set_window_size(width, 1000)
    try:
        show(browser, address, query)
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        found = Axe().run(browser)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= browser.execute_script("return window.innerWidth")
    finally:
        browser.set_window_size(1300, 1000)


def test_an_open_page_recovers_when_the_server_is_there_again(
    opened: webdriver.Chrome, loaded: Loaded
) -> None:
    port = free_ports(1)[0]
    with serving(loaded, port) as address:
        show(opened, address, {"e": FIRST})
        before = totals(opened)
    press(opened, row(opened, "name", "www.netflix.com"))
    assert eventually(lambda: "does not answer" in text_of(opened), seconds=30)
    with serving(loaded, port):
        complete(opened)
        assert "does not answer" not in text_of(opened)
        assert totals(opened) != before
        opened.back()
        complete(opened)
        assert totals(opened) == before
        opened.get("about:blank")
    opened.get_log("browser")  # that the server was away is there
