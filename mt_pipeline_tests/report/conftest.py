"""The servers and the browser of this room's tests."""

import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver

from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.server import Server


@pytest.fixture
def database(questdb: Server) -> Database:
    """Say where the shared server is."""
    return Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest")


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium, which notes what its console says and what pages ask the network for."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not chromium:
        pytest.skip("Chromium is not there: `make test` installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
    for switch in [*switches.split(), "disable-dev-shm-usage", f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{switch}")
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()
