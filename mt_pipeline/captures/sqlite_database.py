"""The ledger in a SQLite file of the data folder: its connections, its transactions, its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.pool import ConnectionPoolEntry

from mt_pipeline.captures.database import upgrade
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.errors import meaning
from mt_pipeline.system import sqlite_errors

BUSY_SECONDS = 60
"""How long an operation waits for those of other processes."""

_DAMAGED = (
    "it is damaged: stop the service and move it away; a new one is made, "
    "and all captures in the inbox are loaded again, which changes no row"
)


class SqliteDatabase:
    """The SQLite file, created or upgraded when it is opened.

    Args:
        path: the file; its folder is created if it is missing.

    Raises:
        LedgerError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}
        )
        sa.event.listen(engine, "connect", _connected)
        sa.event.listen(engine, "begin", _begun)
        self._readers = engine
        self._writers = engine.execution_options(begin="BEGIN IMMEDIATE")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite does not wait its turn when two processes switch a new file to WAL.
            with FileLock(path.with_name(f"{path.name}.lock")), self.write() as db:
                upgrade(db)
        except OSError as error:
            reason = meaning(error, folder=path.parent)
            if isinstance(error.filename, str) and error.filename not in reason:
                reason = f"{error.filename}: {reason}"
            raise LedgerError(f"The ledger {self.path} cannot be used: {reason}.") from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See `Database.read`."""
        with self._translated(), self._readers.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """See `Database.write`."""
        with self._translated(), self._writers.begin() as db:
            yield db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            cure = sqlite_errors.cure(error.orig, self.path.parent, damaged=_DAMAGED)
            raise LedgerError(
                f"The ledger {self.path} cannot be used ({error.orig}): {cure}."
            ) from error


def _connected(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin explicitly, not when the driver guesses
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # what is committed outlives a power cut


def _begun(db: sa.Connection) -> None:
    db.exec_driver_sql(db.get_execution_options().get("begin", "BEGIN"))
