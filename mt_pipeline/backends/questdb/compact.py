"""Frees the disk of rows that are marked as gone.

QuestDB only deletes entire partitions, which are months, or days in a table of an older release. A
partition without live rows is dropped. One with live rows is rewritten (`partition_rewrite.py`).
Loads and removals share a lock that this module takes alone (`locks.py`). Readers of views notice
nothing. Readers of the tables themselves miss a month while it is copied back. Days of an older
release become months first (`repartition.py`).
"""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import live_rows, partition_rewrite
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.locks import LoadingLock
from mt_pipeline.backends.questdb.partitions import DAY, sizes, time_ranges, unit_of
from mt_pipeline.backends.questdb.repartition import is_due, repartition
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS, Table

log = logging.getLogger(__name__)

_TABLES = (PACKETS, FLOWS)
_ALL_TABLES = (*_TABLES, CAPTURES)
_GONE_QUERY = "SELECT timestamp_floor('d', ts) AS day, count() FROM {} WHERE gone{} GROUP BY day"
_STATEMENT_SECONDS = 24 * 3600  # the server's own limit is a minute, and a month may have many rows
_WAL_FACTOR = 2  # QuestDB keeps a second copy of new rows in its log for some minutes


class NoRoom(BackendError):
    """The disk has no room for the rows that are copied meanwhile."""


@dataclass(frozen=True)
class Compacted:
    """What `compact` removes from a table, or would remove.

    Attributes:
        table: its name.
        partitions: partitions that are dropped or rewritten.
        rewritten: those of them with live rows.
        rows: rows that are removed, all of them marked as gone.
        bytes: disk that was freed; of a dry run an estimate by the share of the rows.
        needed: free disk that rewriting one partition after the other takes at most.
    """

    table: str
    partitions: int
    rewritten: int
    rows: int
    bytes: int
    needed: int


@contextmanager
def undisturbed(database: Database, lock: LoadingLock) -> Iterator[None]:
    """Keep `compact` from moving rows meanwhile, and repair what a killed one left before.

    Any number of processes may do so at once.

    Args:
        database: where.
        lock: that loads share.

    Raises:
        BackendError: QuestDB does not answer, or the repair fails.
    """
    while True:
        with lock.shared():
            with database.connect() as connection:
                unfinished = partition_rewrite.is_unfinished(connection, *_ALL_TABLES)
            if not unfinished:
                yield
                return
        _repair(database, lock)


def _repair(database: Database, lock: LoadingLock) -> None:
    with lock.alone(), database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table in _ALL_TABLES:
            partition_rewrite.repair(connection, table, sync=_sync_of(database), echo=log.warning)


def bring_up_to_date(
    database: Database, lock: LoadingLock, *, echo: Callable[[str], None] = log.warning
) -> None:
    """Repair what a kill left, and turn the days of an older release into months, where necessary.

    Args:
        database: where; all who load into it must use the lock.
        lock: that of `undisturbed`.
        echo: receives each step before it begins.

    Raises:
        BackendError: QuestDB does not answer, or has suspended a table.
    """
    with database.connect() as connection:
        unfinished = partition_rewrite.is_unfinished(connection, *_ALL_TABLES)
        if not unfinished and not any(is_due(connection, table) for table in _ALL_TABLES):
            return
    with lock.alone(), database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table in _ALL_TABLES:
            partition_rewrite.repair(connection, table, sync=_sync_of(database), echo=echo)
            repartition(connection, database, table, sync=_sync_of(database), echo=echo)


def compact(
    database: Database,
    lock: LoadingLock,
    *,
    dry_run: bool = False,
    min_gone: float = 0,
    echo: Callable[[str], None] = log.info,
) -> list[Compacted]:
    """Free the disk of rows that are gone. Waits for loads under way, and delays new ones.

    Args:
        database: where.
        lock: that of `undisturbed`.
        dry_run: only estimate.
        min_gone: the share of gone rows from which a partition with live rows is rewritten.
        echo: receives each step before it begins.

    Raises:
        NoRoom: the disk has no room for the copies.
        BackendError: QuestDB does not answer, or has suspended a table.
    """
    with ExitStack() as opened:
        if not dry_run:
            opened.enter_context(lock.alone())
        connection = opened.enter_context(database.connect(statement_seconds=_STATEMENT_SECONDS))
        sync = _sync_of(database)
        for table in () if dry_run else _ALL_TABLES:
            partition_rewrite.repair(connection, table, sync=sync, echo=echo)
            repartition(connection, database, table, sync=sync, echo=echo)
        return [
            _compact(connection, database, table, dry_run=dry_run, min_gone=min_gone, echo=echo)
            for table in _TABLES
        ]


def _compact(
    connection: psycopg.Connection,
    database: Database,
    table: Table,
    *,
    dry_run: bool,
    min_gone: float,
    echo: Callable[[str], None],
) -> Compacted:
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    before = sizes(connection, table)
    gone, live = _counts(connection, table)
    mixed = sorted(
        name
        for name in gone.keys() & live.keys()
        if gone[name] >= min_gone * (gone[name] + live[name])
    )
    empty = sorted(gone.keys() - live.keys())
    planned = _estimate(table, before, gone=gone, live=live, mixed=mixed, empty=empty)
    if dry_run or not planned.partitions:
        return planned
    if empty:
        echo(f"{table.name}: {len(empty):,} partitions are dropped, {empty[0]} to {empty[-1]}")
        names = sql.SQL(", ").join(map(sql.Literal, empty))
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(
                sql.Identifier(table.name), names
            )
        )
        wait_until_readable(connection, table)
    if mixed:
        _check_room(database, planned)  # after the drop, which needs no room, and frees some
        partition_rewrite.rewrite(connection, table, mixed, sync=_sync_of(database), echo=echo)
    freed = sum(before.values()) - sum(sizes(connection, table).values())
    return replace(planned, bytes=max(freed, 0))


def _counts(connection: psycopg.Connection, table: Table) -> tuple[Counter[str], Counter[str]]:
    """Count the gone rows and the live rows of each partition."""
    length = (unit_of(connection, table) or DAY).length
    gone, live = Counter[str](), Counter[str]()
    for condition in time_ranges(connection, table):
        query = sql.SQL(_GONE_QUERY).format(sql.Identifier(table.name), condition)
        for day, rows in connection.execute(query).fetchall():
            gone[f"{day:%Y-%m-%d}"[:length]] += rows
    for (day, _), rows in live_rows.count(connection, table).items():
        live[day[:length]] += rows
    return gone, live


def _estimate(
    table: Table,
    before: Counter[str],
    *,
    gone: Counter[str],
    live: Counter[str],
    mixed: Sequence[str],
    empty: Sequence[str],
) -> Compacted:
    """Estimate by the shares of rows what is freed, and what must be free for the largest copy.

    One partition after the other is copied there and back.
    """
    affected = {*mixed, *empty}
    live_bytes = {name: before[name] * live[name] // (gone[name] + live[name]) for name in affected}
    largest = max((live_bytes[name] for name in mixed), default=0)
    return Compacted(
        table.name,
        partitions=len(affected),
        rewritten=len(mixed),
        rows=sum(gone[name] for name in affected),
        bytes=sum(before[name] - live_bytes[name] for name in affected),
        needed=_WAL_FACTOR * 2 * largest,
    )


def _check_room(database: Database, planned: Compacted) -> None:
    if database.folder is None:  # a server whose disk we do not see
        return
    free = shutil.disk_usage(database.folder).free
    if free < planned.needed:
        raise NoRoom(
            f"{planned.table}: months with other rows are written anew, and {planned.needed:,} "
            f"bytes must be free for that meanwhile, but {database.folder} has {free:,}: "
            "make room, then run `mt-pipeline compact` again"
        )


def _sync_of(database: Database) -> Callable[[], None]:
    """Return what flushes the copies to the disk before partitions are dropped.

    QuestDB itself does not wait for the disk. The disk of a server elsewhere is out of reach.
    """
    return os.sync if database.folder else lambda: None
