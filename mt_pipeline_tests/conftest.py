"""Fixtures of more than one room."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.java import Reader
from mt_pipeline.backends.questdb.server import Server, start
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests import postgres
from mt_pipeline_tests.compose import postgres_programs
from mt_pipeline_tests.pipelines import Lab, Result, environment, open_lab, run_command
from mt_pipeline_tests.s3 import S3
from mt_pipeline_tests.services import drop_everything
from mt_pipeline_tests.soaking.servers import Spare

READER = Reader("reader", "may only read")

LOGIN = {"user": "someone", "password": "s3cret'pass word"}
"""Of the spare server; no message may have the password."""


@pytest.fixture(scope="session")
def questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start one QuestDB for all tests, on free ports, with user `admin` and `READER`.

    Tests share its tables: use your own.
    It takes rows over HTTP as well, as a QuestDB of the user's own does.
    """
    with start(
        tmp_path_factory.mktemp("questdb"),
        http_port=0,
        pg_port=0,
        user="admin",
        password="quest",
        reader=READER,
        ilp=True,
    ) as server:
        yield server


@pytest.fixture(params=["far", "near"])
def near(request: pytest.FixtureRequest) -> bool:
    """Say whether a server shares our disk: rows go another way there."""
    return request.param == "near"


@pytest.fixture
def database(questdb: Server, near: bool) -> Database:
    """Say where the shared server is."""
    folders = (questdb.folder / java.IMPORTS, questdb.folder) if near else ()
    return Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest", *folders)


@pytest.fixture(scope="session")
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
    drop_everything(_spare.database)
    return _spare


@pytest.fixture(scope="session")
def _postgres() -> Iterator[postgres.Server]:
    """Start one Postgres for all tests."""
    if not postgres_programs():
        pytest.skip("PostgreSQL is not there: `make test` installs it")
    server = postgres.Server()
    yield server
    server.close()


@pytest.fixture
def postgres_server(_postgres: postgres.Server) -> postgres.Server:
    """Give a Postgres that stores nothing yet."""
    _postgres.empty()
    return _postgres


@pytest.fixture(params=["folder", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Postgres:
    """Say where the state of a data folder is: there, or in Postgres."""
    if request.param == "folder":
        return tmp_path / "data" / "ledger.sqlite"
    server: postgres.Server = request.getfixturevalue("postgres_server")
    return server.state


@pytest.fixture(params=["folder", "postgres"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Postgres:
    """Say where answers, counts and rates are: in a folder, or in Postgres."""
    if request.param == "folder":
        return tmp_path
    server: postgres.Server = request.getfixturevalue("postgres_server")
    return server.state


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_others() -> Iterator[None]:
    """Keep settings of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MT_", "DAGSTER_"))]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Restore umask, environment and SIGTERM, which what runs in this process changes.

    A folder for temporary files that a test had leaves no room for the name of Chromium's socket,
    and children do not end that inherit an ignored signal.
    """
    before, on_sigterm = os.umask(0o022), signal.getsignal(signal.SIGTERM)
    with patch.dict(os.environ):
        yield
    os.umask(before)
    signal.signal(signal.SIGTERM, on_sigterm)


@pytest.fixture(scope="session", autouse=True)
def _java_that_compiles_once() -> Iterator[None]:
    """Switch off Java's second compiler: a start takes 6 s of the processor rather than 9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        yield


@pytest.fixture(scope="session")
def _store() -> Iterator[S3]:
    """Start one store that speaks S3 for all tests."""
    with S3() as store:
        yield store


@pytest.fixture
def store(_store: S3) -> Iterator[S3]:
    """Give a store with an empty bucket, and be an account of it."""
    _store.empty()
    with _store.account():
        yield _store


@pytest.fixture(scope="module")
def lab(questdb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Open a data folder with its Dagster instance, for the tests of a module.

    It loads into `questdb`, which is empty, so that no test meets captures of other modules.
    """
    with open_lab(tmp_path_factory.mktemp("lab") / "data", questdb) as opened:
        drop_everything(opened.database)
        yield opened


@pytest.fixture
def terminal(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Give a function that runs a command in this process with the settings of the lab."""
    for name, value in environment(lab.settings()).items():
        monkeypatch.setenv(name, value)
    for name in ("DAGSTER_HOME", "TMPDIR"):
        monkeypatch.setenv(name, "set by the commands, taken back after the test")
    return lambda *arguments: run_command(monkeypatch, capsys, arguments)
