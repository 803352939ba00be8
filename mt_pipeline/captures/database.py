"""The SQLite database of the ledger: its table, its upgrade, its transactions, its errors.

What a record means is `records.py`. When a record changes, and how, is `ledger.py`.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateColumn

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import NO_FILE, LedgerError, Record, State
from mt_pipeline.errors import meaning
from mt_pipeline.system import sqlite_errors

Values: TypeAlias = dict[str, object]
"""Values of a record, by column."""

BUSY_SECONDS = 60
"""How long an operation waits for those of other processes."""

_BEYOND = " beyond 64 bits"
"""Follows a number that SQLite would otherwise turn into a float."""


class UnknownCaptureError(CaptureError):
    """The ledger has no record of the key."""


class _AnyInteger(sa.TypeDecorator[int]):
    """An integer of any size: what does not fit into SQLite's 64 bits is stored as text.

    File systems have years that nanoseconds in 64 bits do not reach: ext4 has 2446, others later.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | str | None:
        """Return what is stored."""
        return value if value is None or -(2**63) <= value < 2**63 else f"{value}{_BEYOND}"

    def process_result_value(self, value: int | str | None, dialect: sa.Dialect) -> int | None:
        """Return the number of what is stored."""
        return int(value.removesuffix(_BEYOND)) if isinstance(value, str) else value


# One column per field of Record. A column that is not NULL has a default, so that any column can
# be added to an older file.
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

HAS_KEY = TABLE.c.key == sa.bindparam("of")
IN_HAND = sa.or_(
    TABLE.c.state == State.RUNNING,
    sa.and_(TABLE.c.state == State.WAITING, TABLE.c.requested_at.is_not(None)),
)
"""A run is requested or at work: no scan of the inbox changes the record before its verdict."""

_DAMAGED = (
    "it is damaged: stop the service and move it away; a new one is made, "
    "and all captures in the inbox are loaded again, which changes no row"
)


class RecordFile:
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
                _upgrade(db)
        except OSError as error:
            reason = meaning(error, folder=path.parent)
            if isinstance(error.filename, str) and error.filename not in reason:
                reason = f"{error.filename}: {reason}"
            raise LedgerError(f"The ledger {self.path} cannot be used: {reason}.") from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a transaction that sees one moment and blocks nobody."""
        with self._translated(), self._readers.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Yield a transaction of one process at a time: what it reads stays true until it ends."""
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


def record_of(row: sa.Row[tuple[object, ...]]) -> Record:
    """Return the record of a row of `TABLE`."""
    values = dict(row._mapping)
    return Record(**values | {"state": State(values["state"])})


def select_record(db: sa.Connection, key: str) -> Record:
    """Return the record of a key.

    Raises:
        UnknownCaptureError: there is none.
    """
    row = db.execute(sa.select(TABLE).where(HAS_KEY), {"of": key}).one_or_none()
    if row is None:
        raise _unknown(key)
    return record_of(row)


def request(db: sa.Connection, key: str, *, by: str) -> bool:
    """Record that a run is requested for a waiting capture; return False if one was already."""
    is_free = sa.and_(TABLE.c.state == State.WAITING, TABLE.c.requested_at.is_(None))
    change = sa.update(TABLE).where(HAS_KEY, is_free)
    change = change.values(requested_at=time.time(), requested_by=by)
    return db.execute(change, {"of": key}).rowcount > 0


def upsert(db: sa.Connection, values: Values) -> None:
    """Update the record of the key in the values, or insert it."""
    change = sa.update(TABLE).where(HAS_KEY).values(values)
    if not db.execute(change, {"of": values["key"]}).rowcount:
        db.execute(sa.insert(TABLE).values(values))


def update(db: sa.Connection, key: str, values: Values) -> None:
    """Update the record of a key.

    Raises:
        UnknownCaptureError: there is none.
    """
    if not db.execute(sa.update(TABLE).where(HAS_KEY).values(values), {"of": key}).rowcount:
        raise _unknown(key)


def _unknown(key: str) -> UnknownCaptureError:
    return UnknownCaptureError(
        f"{key} has no record in the ledger: copy it to the inbox, or ingest it."
    )


def _connected(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin explicitly, not when the driver guesses
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
