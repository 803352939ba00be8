"""Gives back the disk of rows that are gone: QuestDB deletes whole partitions only, which are days here.

A day goes when all its rows are gone. No load may be under way then, as it might write into that very day: loads share a lock that this takes
alone. Readers notice nothing: what they no longer see is what goes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.schema import ensure_table, wait_until_readable
from mt_pipeline.questdb.tables import FLOWS, PACKETS, Table

_DAYS = "SELECT timestamp_floor('d', ts) AS day, count(), sum(CASE WHEN gone THEN 1 ELSE 0 END) FROM {} GROUP BY day ORDER BY day"
_SIZES = "SELECT name, diskSize FROM table_partitions({})"


@dataclass(frozen=True)
class Compacted:
    """What goes of a table, or would go, and what stays.

    Attributes:
        table: its name.
        days: partitions that go.
        rows: rows in these, all of them gone before.
        bytes: their disk.
        staying: rows that are gone, but lie in days with others that are not: their disk stays.
    """

    table: str
    days: int
    rows: int
    bytes: int
    staying: int


@contextmanager
def loading(lock: Path) -> Iterator[None]:
    """Keep partitions from being dropped while a load is under way; loads do not keep each other.

    Args:
        lock: a file; another one lies beside it.
    """
    with ExitStack() as held:
        with _locked(lock.with_suffix(".gate"), fcntl.LOCK_EX):  # whoever wants to drop keeps it, so that one load after the other does not
            held.enter_context(_locked(lock, fcntl.LOCK_SH))
        yield


def compact(database: Database, lock: Path, *, dry_run: bool = False) -> list[Compacted]:
    """Drop the days of which every row is gone; waits for loads that are under way, and holds up new ones for a moment.

    Args:
        database: where.
        lock: that of `loading`.
        dry_run: only say what would go.

    Raises:
        DatabaseError: QuestDB does not answer, or has suspended a table.
    """
    with ExitStack() as held:
        if not dry_run:
            held.enter_context(_locked(lock.with_suffix(".gate"), fcntl.LOCK_EX))
            held.enter_context(_locked(lock, fcntl.LOCK_EX))
        with database.connect() as connection:
            return [_compact(connection, table, dry_run=dry_run) for table in (PACKETS, FLOWS)]


def _compact(connection: psycopg.Connection, table: Table, *, dry_run: bool) -> Compacted:
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    days = connection.execute(sql.SQL(_DAYS).format(sql.Identifier(table.name))).fetchall()
    sizes = {name: size for name, size in connection.execute(sql.SQL(_SIZES).format(sql.Literal(table.name))).fetchall()}
    empty = {f"{day:%Y-%m-%d}": rows for day, rows, gone in days if rows == gone}
    if empty and not dry_run:
        names = sql.SQL(", ").join(map(sql.Literal, empty))
        connection.execute(sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(sql.Identifier(table.name), names))
        wait_until_readable(connection, table)
    staying = sum(gone for _, rows, gone in days if rows != gone)
    return Compacted(table.name, len(empty), sum(empty.values()), sum(sizes.get(name, 0) for name in empty), staying)


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
