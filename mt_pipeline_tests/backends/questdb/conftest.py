"""The servers of this room's tests: the one that all rooms share, and one that may be broken."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server import Server
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.soaking.servers import Spare

LOGIN = {"user": "someone", "password": "s3cret'pass word"}
"""Of the spare server; no message may have the password."""


@pytest.fixture(params=["far", "near"])
def near(request: pytest.FixtureRequest) -> bool:
    """Say whether a server shares our disk: rows go another way there."""
    return request.param == "near"


@pytest.fixture
def database(questdb: Server, near: bool) -> Database:
    """Say where the shared server is."""
    folders = (questdb.folder / java.IMPORTS, questdb.folder) if near else ()
    return Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest", *folders)


@pytest.fixture(scope="package")
def _spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spare]:
    spare = Spare(tmp_path_factory.mktemp("spare") / "questdb", **LOGIN)
    yield spare
    spare.stop()


@pytest.fixture
def spare(_spare: Spare, near: bool) -> Spare:
    """Give the server that may be broken: running, and without any table or view."""
    _spare.start_again()
    _spare.database = replace(
        _spare.database,
        import_folder=_spare.imports if near else None,
        folder=_spare.folder if near else None,
    )
    with _spare.database.connect() as connection:
        for name, kind in connection.execute(
            "SELECT table_name, table_type FROM tables()"
        ).fetchall():
            assert eventually(
                partial(_dropped, connection, f'{"VIEW" if kind == "V" else "TABLE"} "{name}"')
            ), name
    return _spare


def _dropped(connection: psycopg.Connection, what: str) -> bool:
    """Drop a table or a view, unless QuestDB has just a reader open on it, as for a view that it compiles anew."""
    try:
        connection.execute(f"DROP {what}")
    except psycopg.DatabaseError as error:
        if "busyReader" in str(error):
            return False
        raise
    return True
