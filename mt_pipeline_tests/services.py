"""`mt-pipeline run` as tests start it: a process on free ports, of which nothing is left."""

import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import Popen

import psutil
import psycopg
import requests

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import Record, State
from mt_pipeline.settings import Settings
from mt_pipeline.system.private import OTHERS
from mt_pipeline_tests.building.traffic import CLIENT
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    capture,
    environment,
    program,
    rows,
    settings_of,
    wrapper,
)

SECONDS = 300
"""Enough for a service to start on a machine that is busy with other tests."""


def rows_so_far(
    database: Database, experiment: str, columns: Sequence[str] = ("frame_number",)
) -> list[tuple[object, ...]]:
    """Return the rows of an experiment, whose view may not be there yet."""
    try:
        return rows(database, experiment, columns)
    except (BackendError, psycopg.DatabaseError):
        return []


def eventually(holds: Callable[[], object], *, seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    They are outside the range of clients: no client has one when its server starts later.
    """
    ports: set[int] = set()
    while len(ports) < count:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 20_000 + secrets.randbelow(12_000)))
            ports.add(probe.getsockname()[1])
    return list(ports)


def processes_of(data: Path) -> list[psutil.Process]:
    """Return every living process that was started for a data folder, orphans too."""
    found = []
    for process in psutil.process_iter():
        try:
            # Programs that need no settings have none in their environment.
            names_it = process.environ().get("MT_DATA_DIR") == str(data)
            names_it = names_it or any(str(data) in argument for argument in process.cmdline())
            works_there = Path(process.cwd()).is_relative_to(data)
            if (names_it or works_there) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def open_to_others(folder: Path) -> list[str]:
    """List what others than its owner could read or enter, if they could enter the folders above.

    QuestDB makes files as it likes: only its folders count.
    """
    found = []
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):  # a service that works deletes files meanwhile
            status = path.lstat()
            counts = stat.S_ISDIR(status.st_mode) or folder / "questdb" not in path.parents
            if counts and not stat.S_ISLNK(status.st_mode) and status.st_mode & OTHERS:
                found.append(f"{path} {status.st_mode:o}")
    return found


@dataclass
class Running:
    """A service: its process, its settings, and the file with its output."""

    process: "Popen[str]"
    settings: Settings
    output: Path

    @property
    def data(self) -> Path:
        return self.settings.data_dir

    @property
    def ui(self) -> str:
        return f"http://127.0.0.1:{self.settings.dagster_port}"

    @property
    def explorer(self) -> str:
        return f"http://127.0.0.1:{self.settings.explorer_port}"

    @property
    def database(self) -> Database:
        return self._as("admin", self.settings.options().questdb_password_file)

    @property
    def reading(self) -> Database:
        return self._as("reader", self.settings.options().questdb_reader_password_file)

    def _as(self, user: str, file: Path) -> Database:
        return Database(
            "127.0.0.1",
            self.settings.questdb_http_port,
            self.settings.questdb_pg_port,
            user,
            file.read_text().strip(),
        )

    def rows(
        self, experiment: str, columns: Sequence[str] = ("frame_number",)
    ) -> list[tuple[object, ...]]:
        return rows_so_far(self.database, experiment, columns)

    def record(self, key: str) -> Record | None:
        return Ledger(self.data / "ledger.sqlite").get(key)

    def query(self, graphql: str) -> dict[str, object]:
        return requests.post(f"{self.ui}/graphql", json={"query": graphql}, timeout=30).json()[
            "data"
        ]


@contextmanager
def running(folder: Path, **others: str) -> Iterator[Running]:
    """Start the service on free ports and a new data folder, and wait until it is ready.

    Its tshark sleeps over captures that are called slow. Keywords are variables.
    """
    http, pg, ui, explorer = free_ports(4)
    nowhere = Database("", http, pg, "admin", PASSWORD)
    settings = settings_of(
        folder / "data",
        nowhere,
        questdb_host=None,
        questdb_password=None,
        dagster_port=ui,
        explorer_port=explorer,
        ui_token=others.get("MT_UI_TOKEN", False),
    )
    slow = wrapper(
        folder / "tshark", 'case "$*" in *slow*) exec sleep 300 ;; *) exec "$TSHARK" "$@" ;; esac'
    )
    (folder / "devices.csv").write_text(f"device,address\nPhone,{CLIENT}\n")
    with (folder / "output").open("w") as output:
        more = {
            "MT_DAGSTER_PORT": str(ui),
            "MT_EXPLORER_PORT": str(explorer),
            "MT_SETTLE_SECONDS": "1",
            "MT_TSHARK": str(slow),
            "MT_DEVICES": "devices.csv",
        }
        process = program(
            "run",
            settings=settings,
            env=environment(settings, **{**more, **others}),
            stdout=output,
            stderr=output,
        )
    service = Running(process, settings, folder / "output")
    try:
        assert eventually(
            lambda: (
                process.poll() is not None
                or "Ctrl-C stops everything" in service.output.read_text()
            )
        ), service.output.read_text()
        assert process.poll() is None, service.output.read_text()
        yield service
    finally:
        process.kill()
        process.wait()
        for left in processes_of(service.data):
            with suppress(psutil.NoSuchProcess):  # it ends by itself after its parent
                left.kill()


def at_work(service: Running, key: str) -> Record:
    """Drop a slow capture and wait until tshark sleeps over it."""
    capture(service.data / "inbox" / key)
    assert eventually(
        lambda: (
            (record := service.record(key)) and record.state is State.RUNNING and sleepers(service)
        )
    )
    record = service.record(key)
    assert record is not None
    return record


def sleepers(service: Running) -> list[psutil.Process]:
    def sleeps(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):  # others end meanwhile
            return process.name() == "sleep"
        return False

    return [process for process in processes_of(service.data) if sleeps(process)]


def drop_everything(database: Database) -> None:
    """Drop all tables and views."""
    with database.connect() as connection:
        for name, kind in connection.execute(
            "SELECT table_name, table_type FROM tables()"
        ).fetchall():
            assert eventually(
                partial(_dropped, connection, f'{"VIEW" if kind == "V" else "TABLE"} "{name}"')
            ), name


def _dropped(connection: psycopg.Connection, what: str) -> bool:
    """Drop a table or a view; try again while QuestDB reads it, as for a view that it compiles."""
    try:
        connection.execute(f"DROP {what}")
    except psycopg.DatabaseError as error:
        if "busyReader" in str(error):
            return False
        raise
    return True
