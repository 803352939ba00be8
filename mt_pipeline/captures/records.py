"""What a record of the ledger looks like, and the SQLite file that holds them: schema, upgrade, transactions, its errors.

When a record changes, and how, is `ledger.py`.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateColumn

from mt_pipeline.captures.identity import CaptureError, label_of

NO_FILE = -1
"""Size in a record behind which no file stands, so that whatever appears under the key counts as changed."""

_BEYOND = " beyond 64 bits"
"""Makes a text of a number that SQLite would else make a float of."""

BUSY_SECONDS = 60
"""How long an operation waits for those of other processes."""


class LedgerError(CaptureError):
    """The file of the ledger cannot be used."""


class State(StrEnum):
    """What became of a capture."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    PURGED = "purged"


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a capture. Times are seconds since 1970.

    Attributes:
        key: the capture key.
        path: the file, as text that can be shown.
        size: bytes of the file that `state` is about; -1 if there is none any more.
        mtime_ns: its time of change.
        experiment: folded name.
        state: what became of it.
        error: why it failed or was refused.
        filter: display filter of the last claim.
        sha256: of the content that was last read; None if there is none.
        hashed_at: when this content was first read under this key.
        documents: name of the documents of the last load, as are the next six of it; None or empty if there is none.
        packets: packets read.
        rows: rows stored.
        skipped: packets that became no row, by reason.
        cut: the capture ends inside a packet.
        follows: what the file before it in its rotation had left when it was loaded; empty if nothing was taken up.
        leaves: what it leaves to the next file: a hash of the names of streams that may go on there; empty if there are none.
        answers: fingerprint of the answers that its rows were made with; None if a load with others was begun and not ended.
        answers_by: what became of its endpoints, by provider: {"netify": {"answered": 3, …}}.
        owed: endpoints for which a provider still owes an answer.
        as_of: the moment whose answers it was loaded with, if it was not the present, ISO 8601.
        packets_expired_at: when its packets were let go of, and only its flows stayed; None if they are there.
        run: the Dagster run that claimed it last.
        attempts: runs that died with it, and outages that it may be the cause of.
        returned: times in a row that an outage gave it back without a verdict.
        returned_at: when that was last; None if it was not.
        taken: bytes that the file had when a run claimed it last; 0 if none has.
        seen_at: when the present size and time were first seen.
        requested_at: when a run was asked for; None if none was.
        requested_by: the terminal that did, which holds the lock of this name as long as it lives; empty for the sensor.
        changed_at: when the state changed.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    experiment: str
    state: State
    error: str | None
    filter: str | None
    sha256: str | None
    hashed_at: float | None
    documents: str | None
    packets: int | None
    rows: int | None
    skipped: Mapping[str, int]
    cut: bool
    follows: str
    leaves: str
    answers: str | None
    answers_by: Mapping[str, Mapping[str, int]]
    owed: int
    as_of: str | None
    packets_expired_at: float | None
    run: str | None
    attempts: int
    returned: int
    returned_at: float | None
    taken: int
    seen_at: float
    requested_at: float | None
    requested_by: str
    changed_at: float

    @property
    def label(self) -> str | None:
        """The folders between its experiment and the file."""
        return label_of(self.key)

    @property
    def remarks(self) -> list[str]:
        """What else is to be said of its packets: how many became no row and why, and that it is cut."""
        skipped = [f"{count:,} skipped: {reason}" for reason, count in self.skipped.items()]
        return [*skipped, *(["cut inside its last packet"] if self.cut else [])]


class _AnyInteger(sa.TypeDecorator[int]):
    """An integer of any size: what SQLite's 64 bits do not hold is stored as text.

    File systems have years that nanoseconds in 64 bits do not reach: ext4 keeps 2446, others far more.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | str | None:
        """Store it."""
        return value if value is None or -(2**63) <= value < 2**63 else f"{value}{_BEYOND}"

    def process_result_value(self, value: int | str | None, dialect: sa.Dialect) -> int | None:
        """Read it."""
        return int(value.removesuffix(_BEYOND)) if isinstance(value, str) else value


@dataclass(frozen=True)
class Status:
    """The part of a record that `mt-pipeline status --json` shows."""

    key: str
    experiment: str
    state: State
    packets: int | None
    rows: int | None
    skipped: Mapping[str, int]
    error: str | None
    label: str | None
    cut: bool

    @classmethod
    def of(cls, record: Record) -> "Status":
        """Take it of a record."""
        return cls(**{name: getattr(record, name) for name in cls.__annotations__})


# One column per field of Record. What is not NULL has a default, so that any column can be added to an older file.
TABLE = sa.Table(
    "captures",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False, server_default=""),
    sa.Column("size", sa.BigInteger, nullable=False, server_default=str(NO_FILE)),
    sa.Column("mtime_ns", _AnyInteger, nullable=False, server_default="0"),
    sa.Column("experiment", sa.Text, nullable=False, server_default=""),
    sa.Column("state", sa.Text, nullable=False, server_default=State.WAITING),
    sa.Column("error", sa.Text),
    sa.Column("filter", sa.Text),
    sa.Column("sha256", sa.Text, index=True),
    sa.Column("hashed_at", sa.Float),
    sa.Column("documents", sa.Text),
    sa.Column("packets", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("skipped", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("cut", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("follows", sa.Text, nullable=False, server_default=""),
    sa.Column("leaves", sa.Text, nullable=False, server_default=""),
    sa.Column("answers", sa.Text),
    sa.Column("answers_by", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("owed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("as_of", sa.Text),
    sa.Column("packets_expired_at", sa.Float),
    sa.Column("run", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("returned", sa.Integer, nullable=False, server_default="0"),
    sa.Column("returned_at", sa.Float),
    sa.Column("taken", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("seen_at", sa.Float, nullable=False, server_default="0"),
    sa.Column("requested_at", sa.Float),
    sa.Column("requested_by", sa.Text, nullable=False, server_default=""),
    sa.Column("changed_at", sa.Float, nullable=False, server_default="0"),
)


_CURES = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk: it may be full or broken",
    sqlite3.SQLITE_BUSY: "another process holds it: stop that one, or try again",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable for this user",
    sqlite3.SQLITE_PERM: "make the file and its folder readable and writable for this user",
}
_DAMAGED = "it is damaged: stop the service and move it away; a new one is made, and all captures in the inbox are loaded again, which changes no row"


class RecordFile:
    """The SQLite file, made or upgraded when it is opened.

    Args:
        path: the file; its folder is made if it is missing.

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
            # SQLite does not wait for its turn when two processes switch a new file to WAL.
            with FileLock(path.with_name(f"{path.name}.lock")), self.write() as db:
                _upgrade(db)
        except OSError as error:
            raise LedgerError(
                f"The ledger {path} cannot be used: {error.strerror or error}; make room on its disk, or make its folder writable for this user."
            ) from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one moment and holds nobody up."""
        with self._translated(), self._readers.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that only one process has at a time: what it reads stays true until it ends."""
        with self._translated(), self._writers.begin() as db:
            yield db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            raise LedgerError(
                f"The ledger {self.path} cannot be used ({error.orig}): {_CURES.get(code, _DAMAGED)}."
            ) from error


def record_of(row: sa.Row[tuple[object, ...]]) -> Record:
    """Make a record of a row of `TABLE`."""
    values = dict(row._mapping)
    return Record(**values | {"state": State(values["state"])})


def _connected(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin when we say, not when the driver guesses
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # what is committed outlives a power cut


def _begun(db: sa.Connection) -> None:
    db.exec_driver_sql(db.get_execution_options().get("begin", "BEGIN"))


def _upgrade(db: sa.Connection) -> None:
    TABLE.create(db, checkfirst=True)
    present = {column["name"] for column in sa.inspect(db).get_columns(TABLE.name)}
    for column in TABLE.columns:
        if column.name not in present:
            db.exec_driver_sql(
                f"ALTER TABLE {TABLE.name} ADD COLUMN {CreateColumn(column).compile(db)}"
            )
    for index in TABLE.indexes:
        index.create(db, checkfirst=True)
