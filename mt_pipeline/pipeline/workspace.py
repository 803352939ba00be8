"""Opens what belongs to a data folder: ledger, tshark, back ends, QuestDB. Does no work itself."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypedDict

import psycopg
from filelock import FileLock

from mt_pipeline.backends.backend import Backend
from mt_pipeline.backends.loads import BackendError, Unreachable
from mt_pipeline.backends.parquet.backend import ParquetFiles
from mt_pipeline.backends.questdb import compact, java, server, server_folder
from mt_pipeline.backends.questdb.backend import QuestDb
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.locks import (
    FileLoadingLock,
    LoadingLock,
    PostgresLoadingLock,
    ViewsLock,
)
from mt_pipeline.captures import s3_client
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.captures.store import Inbox
from mt_pipeline.errors import SettingsError, meaning
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.logins import Logins
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.progress import Progress, ignore
from mt_pipeline.system import private, scratch
from mt_pipeline.tshark import limits
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.limits import Limits

log = logging.getLogger(__name__)

LOG_SECONDS = 10


class _Start(TypedDict):
    http_port: int
    pg_port: int
    user: str
    password: str
    reader: java.Reader | None


@dataclass(frozen=True)
class Workspace:
    """A data folder, and what belongs to it.

    Attributes:
        options: the options of the data folder.
        progress: receives the progress of each capture, besides the log.
    """

    options: Options
    progress: Progress = ignore

    def __post_init__(self) -> None:
        """Say where temporary files go, and refuse settings that can never work.

        Raises:
            SettingsError: the message names the variable.
        """
        providers.check(self.options)
        if isinstance(self.options.inbox_dir, Bucket):
            s3_client.check_installed()
        try:
            scratch.use(self.options.temporary if self.options.scratch_dir else None)
        except OSError as error:
            raise SettingsError(f"MT_SCRATCH_DIR: {error.filename}: {meaning(error)}") from None

    @property
    def inbox(self) -> Inbox:
        """The watched folder, or the store that captures are in."""
        return self.options.inbox_dir

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger: the state of every capture."""
        private.folder(self.options.data_dir)
        return Ledger(self.options.state or self.options.ledger_file)

    @cached_property
    def tshark(self) -> Tshark:
        """The tshark of the settings. Raises TsharkError if it cannot be used."""
        return Tshark.find(self.options.tshark, limits=self.limits)

    @property
    def limits(self) -> Limits:
        """What a program of Wireshark may take for one capture."""
        options = self.options
        return Limits(options.tshark_silence_seconds, options.tshark_seconds, self.memory)

    @property
    def memory(self) -> int:
        """Bytes that a program of Wireshark may take for one capture."""
        megabytes = self.options.tshark_memory_mb
        return limits.memory() if megabytes is None else megabytes * 10**6

    @property
    def logins(self) -> Logins:
        """The users of QuestDB and their passwords."""
        return Logins(self.options)

    @property
    def questdb_folder(self) -> Path:
        """The data of the embedded QuestDB."""
        return self.options.data_dir / "questdb"

    @property
    def loading_lock(self) -> LoadingLock:
        """The lock that loads share, and that whoever rewrites QuestDB's tables takes alone."""
        path = self.options.data_dir / "loading.lock"
        state = self.options.state
        return PostgresLoadingLock(state) if state else FileLoadingLock(path)

    @property
    def service_lock(self) -> FileLock:
        """The lock of the data folder's service; the kernel frees it, however a process ends."""
        return FileLock(self.options.data_dir / "service.lock", timeout=0)

    @property
    def has_crashed(self) -> bool:
        """Whether the embedded QuestDB crashed, and its tables have not been verified since."""
        return self.options.embeds_questdb and server_folder.has_crashed(self.questdb_folder)

    def backends(self) -> Sequence[Backend]:
        """Open the back ends of the options, in their order.

        Raises:
            Unreachable: QuestDB is one of them, and it is not running.
        """
        makers = {"questdb": self._questdb_backend, "parquet": self._parquet_backend}
        return [makers[name]() for name in self.options.backends]

    def _questdb_backend(self) -> Backend:
        database = self.database()
        console = self.options.questdb_console or database.console
        return QuestDb(database, self.reading(), console, self.logins.sign_in, self.loading_lock)

    def _parquet_backend(self) -> Backend:
        return ParquetFiles(self.options.data_dir / "parquet")

    def database(self) -> Database:
        """Return the QuestDB of the settings, or the embedded one if the settings name none.

        Raises:
            SettingsError: QuestDB is not one of the back ends.
            Unreachable: the embedded QuestDB is not running.
        """
        return self._database_of(*self.logins.admin)

    def _database_of(self, user: str, password: str) -> Database:
        if not self.options.has_questdb:
            raise SettingsError(
                "this needs QuestDB, which MT_BACKENDS leaves out: "
                "add questdb to it, and load the captures again"
            )
        options, lock = self.options, self._views_lock
        if options.questdb_host:
            ports = options.questdb_http_port, options.questdb_pg_port
            return Database(
                options.questdb_host, *ports, user, password, options.questdb_import_dir, lock=lock
            )
        address = server_folder.find(self.questdb_folder)
        if address is None:
            raise Unreachable(
                "no QuestDB is running: start it with `make run`, "
                "or set MT_QUESTDB_HOST to one of your own, then launch again"
            )
        return Database(
            java.HOST,
            address.http_port,
            address.pg_port,
            user,
            password,
            self.questdb_folder / java.IMPORTS,
            self.questdb_folder,
            lock,
        )

    @property
    def _views_lock(self) -> ViewsLock:
        """The lock of those who create tables and views of QuestDB."""
        if self.options.state is None:
            return partial(FileLock, self.options.data_dir / "views.lock")
        from mt_pipeline.state.advisory import Locks

        return Locks(self.options.state, "views").alone

    def reading(self) -> Database:
        """Return the same QuestDB for its read-only user, or for the admin if it has none.

        Raises:
            SettingsError: as for `database`.
            Unreachable: as for `database`.
        """
        reader = self.logins.reader
        # The password of the admin is not read where it is not needed.
        return self._database_of(reader.name, reader.password) if reader else self.database()

    def start_questdb(self) -> server.Server:
        """Start the embedded QuestDB."""
        return server.start(self.questdb_folder, **self._start)

    @contextmanager
    def questdb(self) -> Iterator[bool]:
        """Have the embedded QuestDB running until the block ends; start it if it is not running.

        Do nothing if the settings name a QuestDB of your own, or none.

        Yields:
            Whether it was started here. If so, it is stopped at the end.
        """
        if not self.options.embeds_questdb:
            yield False
            return
        with server.use(self.questdb_folder, **self._start) as running:
            started = isinstance(running, server.Server)
            if started:
                self.bring_up_to_date(log.warning)
            yield started

    @property
    def _start(self) -> _Start:
        """The arguments that start the embedded QuestDB."""
        user, password = self.logins.admin
        ports = self.options.questdb_http_port, self.options.questdb_pg_port
        return {
            "http_port": ports[0],
            "pg_port": ports[1],
            "user": user,
            "password": password,
            "reader": self.logins.reader,
        }

    def bring_up_to_date(self, echo: Callable[[str], None]) -> None:
        """Repair and partition the tables of the embedded QuestDB, which has just started.

        Args:
            echo: receives a line for each thing that was done, or that went wrong.
        """
        try:
            compact.bring_up_to_date(self.database(), self.loading_lock, echo=echo)
        except (BackendError, psycopg.Error) as error:
            # Start all the same: the cure needs a running QuestDB.
            echo(" ".join(str(error).split()))

    def pace(
        self, key: str, doing: str, what: str, total: int | None = None
    ) -> Callable[[int], None]:
        """Return a function that reports the progress of a capture, and logs it every 10 seconds.

        Args:
            key: the capture key.
            doing: the activity: `reading`, `asking`, `loading` …
            what: the unit of what is counted: `packets`, `endpoints`, `flows`.
            total: how many there are; None if that is not known.
        """
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
