"""The browser of the tests: Debian's Chromium, without a window and without requests of its own."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

from mt_pipeline_tests.services import eventually

_SWITCHES = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync "
    "disable-dev-shm-usage"
).split()

GRAPH = "/locations/mt_pipeline/asset-groups/captures/lineage"
"""Path of Dagster's graph of the assets; its page of all groups hides them in a box."""


@contextmanager
def chromium(
    profile: Path, *switches: str, notes: Mapping[str, str] | None = None
) -> Iterator[webdriver.Chrome]:
    """Open the browser; a test that needs it is skipped where it is not.

    Args:
        profile: folder of its own.
        switches: more of its switches.
        notes: which logs it keeps, and what of them.
    """
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not program:
        pytest.skip("Chromium is not there: `make test` installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    if notes:
        options.set_capability("goog:loggingPrefs", dict(notes))
    for switch in (*_SWITCHES, *switches, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def page(browser: webdriver.Chrome, url: str, *expected: str) -> str:
    """Open a page and wait until it shows some texts; returns all it shows."""
    browser.get(url)
    shown = ""

    def complete() -> bool:
        nonlocal shown
        # One reading for the check and the return value: the page redraws itself at any moment.
        with suppress(WebDriverException):
            shown = browser.find_element(By.TAG_NAME, "body").text
        return all(text in shown for text in expected)

    assert eventually(complete, seconds=30), shown
    return shown


def click(browser: webdriver.Chrome, text: str) -> None:
    """Click the first button whose text begins so, as soon as it can be clicked."""

    def clicked() -> bool:
        try:
            for button in browser.find_elements(By.TAG_NAME, "button"):
                if button.text.startswith(text) and button.is_enabled():
                    button.click()
                    return True
        except WebDriverException:  # the page draws itself anew
            pass
        return False

    assert eventually(clicked), text
