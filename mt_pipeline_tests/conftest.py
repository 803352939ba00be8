"""Fixtures of more than one room."""

from collections.abc import Iterator

import pytest

from mt_pipeline.questdb.server import Server, start


@pytest.fixture(scope="session")
def questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One embedded QuestDB for all tests, on free ports, user `admin`, password `quest`. Tests share its tables: use names of your own."""
    with start(tmp_path_factory.mktemp("questdb"), http_port=0, pg_port=0, user="admin", password="quest") as server:
        yield server
