"""The table of the ledger, its upgrade, and the statements that several modules need.

It lies in SQLite (`sqlite_database.py`) or in Postgres (`postgres_database.py`). What a record
means is `records.py`. When a record changes, and how, is `ledger.py`.
"""

import time
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import NO_FILE, Record, State

Values: TypeAlias = dict[str, object]
"""Values of a record, by column."""

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

    def load_dialect_impl(
        self, dialect: sa.Dialect
    ) -> sa.types.TypeEngine[int] | sa.types.TypeEngine[Decimal]:
        """Return the type of the column: Postgres has numbers of any size."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Numeric(scale=0))
        return dialect.type_descriptor(sa.BigInteger())

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | str | None:
        """Return what is stored."""
        fits = value is None or -(2**63) <= value < 2**63 or dialect.name == "postgresql"
        return value if fits else f"{value}{_BEYOND}"

    def process_result_value(
        self, value: Decimal | int | str | None, dialect: sa.Dialect
    ) -> int | None:
        """Return the number of what is stored."""
        if value is None:
            return None
        return int(value.removesuffix(_BEYOND) if isinstance(value, str) else value)


_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Keys are sorted by their characters, not by the rules of a language."""

# One column per field of Record. A column that is not NULL has a default, so that any column can
# be added to an older file.
TABLE = sa.Table(
    "captures",
    sa.MetaData(),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("path", sa.Text, nullable=False, server_default=""),
    sa.Column("size", sa.BigInteger, nullable=False, server_default=str(NO_FILE)),
    sa.Column("mtime_ns", _AnyInteger, nullable=False, server_default="0"),
    sa.Column("experiment", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("state", sa.Text, nullable=False, server_default=State.WAITING, index=True),
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


class Database(Protocol):
    """Where the table lies.

    Raises:
        LedgerError: in each transaction, if it cannot be used.
    """

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Yield a transaction that sees one moment and blocks nobody."""

    def write(self) -> AbstractContextManager[sa.Connection]:
        """Yield a transaction of one process at a time: what it reads stays true until it ends."""


def upgrade(db: sa.Connection) -> None:
    """Create the table, or add the columns and indexes that an older one lacks."""
    inspector = sa.inspect(db)
    if not inspector.has_table(TABLE.name):
        TABLE.create(db)
        return
    columns = {column["name"] for column in inspector.get_columns(TABLE.name)}
    indexes = {index["name"] for index in inspector.get_indexes(TABLE.name)}
    for column in TABLE.columns:
        if column.name not in columns:
            db.exec_driver_sql(
                f"ALTER TABLE {TABLE.name} ADD COLUMN {CreateColumn(column).compile(db)}"
            )
    for index in TABLE.indexes:
        if index.name not in indexes:
            index.create(db)


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
