"""The servers and the browser of this room's tests."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server import Server
from mt_pipeline_tests.browsers import chromium


@pytest.fixture
def database(questdb: Server) -> Database:
    """Return the address of the shared server."""
    return Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest")


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start Chromium, which logs its console and network requests."""
    with chromium(
        tmp_path_factory.mktemp("profile"), notes={"browser": "ALL", "performance": "ALL"}
    ) as opened:
        yield opened
