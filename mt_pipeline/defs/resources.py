"""What the assets, the sensor and the terminal work with: the rooms, opened as the settings say. No work is done here."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.defs import providers
from mt_pipeline.questdb import compact, java, server
from mt_pipeline.questdb.database import Database, DatabaseError, Unreachable
from mt_pipeline.settings import Settings, SettingsError
from mt_pipeline.tshark.command import Tshark

log = logging.getLogger(__name__)

LOG_SECONDS = 10

Progress = Callable[[str, str, int], None]
"""Told the capture key, what is being done (`reading`, `asking`, `loading`) and how many packets or endpoints are done; at last `ENDED`."""

WAITING = "waiting for QuestDB, which does not answer, to load"
"""What is being done while a QuestDB of the user's own is away."""

ENDED = "ended"
"""There is a verdict on the capture; the ledger knows it."""


@dataclass(frozen=True)
class Pipeline:
    """The rooms of one data folder.

    Attributes:
        settings: all of them.
        progress: told how far a capture is, besides the log.
    """

    settings: Settings
    progress: Progress = field(default=lambda _key, _doing, _done: None)

    def __post_init__(self) -> None:
        """Refuse settings that can never work, before any capture is touched.

        Raises:
            SettingsError: naming the variable.
        """
        providers.check(self.settings)

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.settings.inbox_dir

    @cached_property
    def ledger(self) -> Ledger:
        """What became of every capture."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        return Ledger(self.settings.data_dir / "ledger.sqlite")

    @cached_property
    def tshark(self) -> Tshark:
        """The tshark of the settings; raises TsharkError if it cannot be used."""
        return Tshark.find(self.settings.tshark)

    @property
    def questdb_folder(self) -> Path:
        """Where the embedded QuestDB keeps its data."""
        return self.settings.data_dir / "questdb"

    @property
    def loading_lock(self) -> Path:
        """The lock that all share who need QuestDB's rows to stay where they are."""
        return self.settings.data_dir / "loading.lock"

    @property
    def has_crashed(self) -> bool:
        """Whether the embedded QuestDB once ended in disorder, and nobody has looked since what that did to the tables."""
        return self.settings.has_questdb and self.settings.questdb_host is None and server.has_crashed(self.questdb_folder)

    def database(self) -> Database:
        """Find the QuestDB to load into: the one of the settings, else the embedded one that is running.

        Raises:
            SettingsError: the settings leave QuestDB out.
            Unreachable: no embedded QuestDB is running.
        """
        if not self.settings.has_questdb:
            raise SettingsError("this needs QuestDB, which MT_BACKENDS leaves out: add questdb to it, and load the captures again")
        settings, password = self.settings, self.settings.questdb_password.get_secret_value()
        if settings.questdb_host:
            return Database(settings.questdb_host, settings.questdb_http_port, settings.questdb_pg_port, settings.questdb_user, password)
        found = server.find(self.questdb_folder)
        if found is None:
            raise Unreachable("no QuestDB is running: start it with `make run`, or set MT_QUESTDB_HOST to one of your own, then launch again")
        imports = self.questdb_folder / java.IMPORTS
        return Database(java.HOST, found.http_port, found.pg_port, settings.questdb_user, password, imports)

    @contextmanager
    def questdb(self) -> Iterator[None]:
        """Use the QuestDB of the settings or one that is running; else start the embedded one for as long as we need it, if we do."""
        settings = self.settings
        if settings.questdb_host or not settings.has_questdb:
            yield
            return
        with server.use(
            self.questdb_folder,
            http_port=settings.questdb_http_port,
            pg_port=settings.questdb_pg_port,
            user=settings.questdb_user,
            password=settings.questdb_password.get_secret_value(),
            reader=reader(settings),
        ) as found:
            if isinstance(found, server.Server):
                self.bring_up_to_date(log.warning)
            yield

    def bring_up_to_date(self, say: Callable[[str], None]) -> None:
        """Have the embedded QuestDB, just started, make good what a kill left, and cut its tables as this release does."""
        try:
            compact.bring_up_to_date(self.database(), self.loading_lock, say=say)
        except (DatabaseError, psycopg.Error) as error:  # no reason not to start: the cure needs a running QuestDB
            say(" ".join(str(error).split()))


def reader(settings: Settings) -> java.Reader | None:
    """Name the user of the embedded QuestDB who may only read, if there is to be one."""
    password = settings.questdb_reader_password
    return java.Reader(settings.questdb_reader, password.get_secret_value()) if password else None


def pace(pipeline: Pipeline, key: str, doing: str, what: str) -> Callable[[int], None]:
    """Make a progress of one capture that tells the pipeline at once, and the log about every 10 seconds with the rate."""
    started = last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        pipeline.progress(key, doing, done)
        if (now := time.monotonic()) - last >= LOG_SECONDS:
            last = now
            log.info("%s: %s, %s %s so far, %s/s", key, doing, f"{done:,}", what, f"{done / (now - started):,.0f}")

    return tell
