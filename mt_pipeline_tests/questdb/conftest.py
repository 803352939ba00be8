"""The servers of this room's tests: the one that all rooms share, and one that may be broken."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.questdb import java
from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.server import Server, start

LOGIN = {"user": "someone", "password": "s3cret'pass word"}
"""Of the spare server; no message may have the password."""


class Spare:
    """A server of our own, which a test may kill and start again on the same ports; tables may be suspended by hand."""

    def __init__(self, folder: Path) -> None:
        (folder / "conf").mkdir()
        (folder / "conf" / "server.conf").write_text("dev.mode.enabled=true\n")
        self._server = start(folder, http_port=0, pg_port=0, **LOGIN)
        self.database = Database("127.0.0.1", self._server.http_port, self._server.pg_port, **LOGIN)
        self.imports = folder / java.IMPORTS

    def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        self._server.process.kill()
        self._server.process.wait()

    def start_again(self) -> None:
        """Start it on the same folder and ports, if it does not run; from the main thread, because it ends with the thread."""
        if self._server.poll() is not None:
            self._server = start(self._server.folder, http_port=self._server.http_port, pg_port=self._server.pg_port, **LOGIN)

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(params=["far", "near"])
def near(request: pytest.FixtureRequest) -> bool:
    """Say whether a server shares our disk: rows go another way there."""
    return request.param == "near"


@pytest.fixture
def database(questdb: Server, near: bool) -> Database:
    """Say where the shared server is."""
    return Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest", questdb.folder / java.IMPORTS if near else None)


@pytest.fixture(scope="package")
def _spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spare]:
    spare = Spare(tmp_path_factory.mktemp("spare"))
    yield spare
    spare.stop()


@pytest.fixture
def spare(_spare: Spare, near: bool) -> Spare:
    """Give the server that may be broken: running, and without any table or view."""
    _spare.start_again()
    _spare.database = replace(_spare.database, import_folder=_spare.imports if near else None)
    with _spare.database.connect() as connection:
        for name, kind in connection.execute("SELECT table_name, table_type FROM tables()").fetchall():
            connection.execute(f'DROP {"VIEW" if kind == "V" else "TABLE"} "{name}"')
    return _spare
