"""The browser that looks at pages: Debian's Chromium, without a window and without a word to anybody of its own."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

_SWITCHES = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync "
    "disable-dev-shm-usage"
).split()


@contextmanager
def chromium(profile: Path, *switches: str, notes: Mapping[str, str] | None = None) -> Iterator[webdriver.Chrome]:
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
