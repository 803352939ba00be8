"""One data folder with its rooms, opened as the options say. No work is done here."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypedDict

import psycopg

from mt_pipeline.backends.backend import Backend
from mt_pipeline.backends.loads import BackendError, Unreachable
from mt_pipeline.backends.parquet.backend import ParquetFiles
from mt_pipeline.backends.questdb import compact, java, server, server_folder
from mt_pipeline.backends.questdb.backend import QuestDb
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.options import Options
from mt_pipeline.system import private
from mt_pipeline.system.passwords import password_in
from mt_pipeline.tshark import limits
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.limits import Limits

log = logging.getLogger(__name__)

LOG_SECONDS = 10


class Progress(Protocol):
    """Told how far a capture is, and at last `ENDED`."""

    def __call__(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Tell it.

        Args:
            key: the capture key.
            doing: what is being done: `reading`, `asking`, `loading` …
            done: packets, endpoints or flows with which it is done so far.
            total: how many there are, if that is known.
        """


def unheard(key: str, doing: str, done: int, total: int | None = None) -> None:
    """Be told, and do nothing."""


WAITING = "waiting for QuestDB, which does not answer, to load"
"""What is being done while a QuestDB of the user's own is away."""

ENDED = "ended"
"""There is a verdict on the capture; the ledger knows it."""


_OF_ITS_OWN = "quest"
"""The password that a QuestDB has if nobody gives it one."""


class _Start(TypedDict):
    http_port: int
    pg_port: int
    user: str
    password: str
    reader: java.Reader | None


@dataclass(frozen=True)
class Workspace:
    """One data folder with its rooms.

    Attributes:
        options: where it is, and how it is used.
        progress: receives how far each capture is, besides the log.
    """

    options: Options
    progress: Progress = unheard

    def __post_init__(self) -> None:
        """Refuse settings that can never work, before any capture is touched.

        Raises:
            SettingsError: naming the variable.
        """
        providers.check(self.options)

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.options.inbox_dir

    @cached_property
    def ledger(self) -> Ledger:
        """What became of every capture."""
        private.folder(self.options.data_dir)
        return Ledger(self.options.data_dir / "ledger.sqlite")

    @cached_property
    def tshark(self) -> Tshark:
        """The tshark of the settings; raises TsharkError if it cannot be used."""
        options = self.options
        most = (
            limits.memory()
            if options.tshark_memory_mb is None
            else options.tshark_memory_mb * 10**6
        )
        return Tshark.find(
            options.tshark,
            limits=Limits(options.tshark_silence_seconds, options.tshark_seconds, most),
        )

    @property
    def questdb_folder(self) -> Path:
        """Where the embedded QuestDB keeps its data."""
        return self.options.data_dir / "questdb"

    @property
    def loading_lock(self) -> Path:
        """The lock that all share who need QuestDB's rows to stay where they are."""
        return self.options.data_dir / "loading.lock"

    @property
    def has_crashed(self) -> bool:
        """Whether the embedded QuestDB once ended in disorder, and nobody has looked since what that did to the tables."""
        return self.options.embeds_questdb and server_folder.has_crashed(self.questdb_folder)

    def backends(self) -> Sequence[Backend]:
        """Open the back ends of the options, in their order.

        Raises:
            Unreachable: QuestDB is one of them, and none is running.
        """
        makers = {"questdb": self._questdb_backend, "parquet": self._parquet_backend}
        return [makers[name]() for name in self.options.backends]

    def _questdb_backend(self) -> Backend:
        database = self.database()
        console = self.options.questdb_console or database.console
        return QuestDb(database, self.reading(), console, self.sign_in, self.loading_lock)

    def _parquet_backend(self) -> Backend:
        return ParquetFiles(self.options.data_dir / "parquet")

    def database(self) -> Database:
        """Find the QuestDB to load into: the one of the settings, else the embedded one that is running.

        Raises:
            SettingsError: the settings leave QuestDB out.
            Unreachable: no embedded QuestDB is running.
        """
        if not self.options.has_questdb:
            raise SettingsError(
                "this needs QuestDB, which MT_BACKENDS leaves out: add questdb to it, and load the captures again"
            )
        options, (user, password) = self.options, self.login
        lock = options.data_dir / "views.lock"
        if options.questdb_host:
            ports = options.questdb_http_port, options.questdb_pg_port
            return Database(
                options.questdb_host, *ports, user, password, options.questdb_import_dir, lock=lock
            )
        found = server_folder.find(self.questdb_folder)
        if found is None:
            raise Unreachable(
                "no QuestDB is running: start it with `make run`, or set MT_QUESTDB_HOST to one of your own, then launch again"
            )
        return Database(
            java.HOST,
            found.http_port,
            found.pg_port,
            user,
            password,
            self.questdb_folder / java.IMPORTS,
            self.questdb_folder,
            lock,
        )

    def reading(self) -> Database:
        """Find the same QuestDB, as a user who may only read; as the other one, if a QuestDB of the user's own has no such user.

        Raises:
            SettingsError, Unreachable: as `database`.
        """
        reader = self.reader
        return (
            replace(self.database(), user=reader.name, password=reader.password)
            if reader
            else self.database()
        )

    @property
    def login(self) -> tuple[str, str]:
        """Who may do all in QuestDB: user and password."""
        options = self.options
        if options.questdb_password:
            return options.questdb_user, options.questdb_password.get_secret_value()
        return options.questdb_user, _OF_ITS_OWN if options.questdb_host else password_in(
            options.questdb_password_file
        )

    @property
    def sign_in(self) -> str:
        """Where a person finds with what they sign in to the console; the password itself would end up in logs."""
        options = self.options
        own = options.questdb_password or options.questdb_host
        return f"user {options.questdb_user}, password {'of MT_QUESTDB_PASSWORD' if own else f'in {options.questdb_password_file}'}"

    @property
    def reader(self) -> java.Reader | None:
        """Who may only read in QuestDB; the embedded one always has such a user."""
        options = self.options
        if options.questdb_reader_password:
            return java.Reader(
                options.questdb_reader, options.questdb_reader_password.get_secret_value()
            )
        if options.questdb_host:
            return None
        return java.Reader(
            options.questdb_reader, password_in(options.questdb_reader_password_file)
        )

    def start_questdb(self) -> server.Server:
        """Start the embedded QuestDB."""
        return server.start(self.questdb_folder, **self._start)

    @contextmanager
    def questdb(self) -> Iterator[bool]:
        """Use the QuestDB of the settings or one that is running; else start the embedded one for as long as we need it, if we do.

        Yields:
            Whether it was started, and stops at the end.
        """
        if not self.options.embeds_questdb:
            yield False
            return
        with server.use(self.questdb_folder, **self._start) as found:
            started = isinstance(found, server.Server)
            if started:
                self.bring_up_to_date(log.warning)
            yield started

    @property
    def _start(self) -> _Start:
        """With what the embedded QuestDB is started."""
        user, password = self.login
        ports = self.options.questdb_http_port, self.options.questdb_pg_port
        return {
            "http_port": ports[0],
            "pg_port": ports[1],
            "user": user,
            "password": password,
            "reader": self.reader,
        }

    def bring_up_to_date(self, say: Callable[[str], None]) -> None:
        """Have the embedded QuestDB, just started, make good what a kill left, and cut its tables as this release does."""
        try:
            compact.bring_up_to_date(self.database(), self.loading_lock, echo=say)
        except (
            BackendError,
            psycopg.Error,
        ) as error:  # no reason not to start: the cure needs a running QuestDB
            say(" ".join(str(error).split()))

    def pace(
        self, key: str, doing: str, what: str, total: int | None = None
    ) -> Callable[[int], None]:
        """Return a function for the progress of one capture: it reports at once, and to the log about every 10 seconds with the rate."""
        self.progress(key, doing, 0, total)
        started = last = time.monotonic()

        def report(done: int) -> None:
            nonlocal last
            self.progress(key, doing, done, total)
            if (now := time.monotonic()) - last >= LOG_SECONDS:
                last = now
                rate = f"{done / (now - started):,.0f}"
                log.info("%s: %s, %s %s so far, %s/s", key, doing, f"{done:,}", what, rate)

        return report
