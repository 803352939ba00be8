"""Gives back the disk of rows that are gone. QuestDB deletes whole partitions only, which are months here, or days of an older release.

A partition all of whose rows are gone is dropped; one where others live is written anew without those that are gone (`beside.py`). Loads and removals
share a lock that this takes alone (`turns.py`). Who reads views notices nothing; who reads the tables themselves misses a month for as long as it is
copied back. Tables that an older release cut into days are cut into months first (`repartition.py`).
"""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import locks, partition_rewrite
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partitions import DAY, sizes, stretches, unit_of
from mt_pipeline.backends.questdb.repartition import is_due, repartition
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS, Table

log = logging.getLogger(__name__)

_TABLES = (PACKETS, FLOWS)
_ALL_TABLES = (*_TABLES, CAPTURES)
_GONE = "SELECT timestamp_floor('d', ts) AS day, count() FROM {} WHERE gone{} GROUP BY day"
_STATEMENT_SECONDS = 24 * 3600  # the server's own limit is a minute, and a month may have many rows
_TWICE = 2  # QuestDB keeps what is written once more, in its log, for some minutes


class NoRoom(BackendError):
    """The disk has no room for the rows that are copied meanwhile."""


@dataclass(frozen=True)
class Compacted:
    """What goes of a table, or would go.

    Attributes:
        table: its name.
        partitions: those with rows that are gone.
        rewritten: those of them in which other rows live.
        rows: rows that go, all of them gone before.
        bytes: disk that was given back; of a dry run, and of partitions that are rewritten, the share of their rows.
        needed: free disk that the rewriting takes meanwhile: one partition after the other.
    """

    table: str
    partitions: int
    rewritten: int
    rows: int
    bytes: int
    needed: int


@contextmanager
def undisturbed(database: Database, lock: Path) -> Iterator[None]:
    """Find the rows where they are, and keep them there; many may do so at once. What a killed `compact` left is made good first.

    Args:
        database: where.
        lock: a file; another one lies beside it.

    Raises:
        BackendError: QuestDB does not answer, or what was left cannot be made good.
    """
    while True:
        with locks.shared(lock):
            with database.connect() as connection:
                broken_off = partition_rewrite.is_broken_off(connection, *_ALL_TABLES)
            if not broken_off:
                yield
                return
        mend(database, lock)


def mend(database: Database, lock: Path) -> None:
    """Make good what a killed `compact` left, if there is anything.

    Raises:
        BackendError: QuestDB does not answer, or has suspended a table.
    """
    with locks.alone(lock), database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table in _ALL_TABLES:
            partition_rewrite.mend(connection, table, sync=_sync_of(database), say=log.warning)


def bring_up_to_date(
    database: Database, lock: Path, *, say: Callable[[str], None] = log.warning
) -> None:
    """Make good what a kill left, and cut tables anew that an older release has cut; does nothing where nothing is to be done.

    Args:
        database: where; nobody may load into it who does not know the lock.
        lock: that of `undisturbed`.
        say: told what is done, step by step.

    Raises:
        BackendError: QuestDB does not answer, or has suspended a table.
    """
    with database.connect() as connection:
        if not partition_rewrite.is_broken_off(connection, *_ALL_TABLES) and not any(
            is_due(connection, table) for table in _ALL_TABLES
        ):
            return
    with locks.alone(lock), database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table in _ALL_TABLES:
            partition_rewrite.mend(connection, table, sync=_sync_of(database), say=say)
            repartition(connection, database, table, sync=_sync_of(database), say=say)


def compact(
    database: Database,
    lock: Path,
    *,
    dry_run: bool = False,
    worth: float = 0,
    say: Callable[[str], None] = log.info,
) -> list[Compacted]:
    """Give back the disk of rows that are gone; waits for loads that are under way, and holds up new ones.

    Args:
        database: where.
        lock: that of `undisturbed`.
        dry_run: only say what would go.
        worth: the share of its rows that must be gone before a partition in which others live is written anew.
        say: told what is done, step by step.

    Raises:
        NoRoom: the disk has no room for the copies.
        BackendError: QuestDB does not answer, or has suspended a table.
    """
    with ExitStack() as opened:
        if not dry_run:
            opened.enter_context(locks.alone(lock))
        connection = opened.enter_context(database.connect(statement_seconds=_STATEMENT_SECONDS))
        sync = _sync_of(database)
        for table in () if dry_run else _ALL_TABLES:
            partition_rewrite.mend(connection, table, sync=sync, say=say)
            repartition(connection, database, table, sync=sync, say=say)
        return [
            _compact(connection, database, table, dry_run=dry_run, worth=worth, say=say)
            for table in _TABLES
        ]


def _compact(
    connection: psycopg.Connection,
    database: Database,
    table: Table,
    *,
    dry_run: bool,
    worth: float,
    say: Callable[[str], None],
) -> Compacted:
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    before = sizes(connection, table)
    gone, live = _counted(connection, table)
    mixed = sorted(
        name
        for name in gone.keys() & live.keys()
        if gone[name] >= worth * (gone[name] + live[name])
    )
    empty = sorted(gone.keys() - live.keys())
    planned = _planned(table, before, gone=gone, live=live, mixed=mixed, empty=empty)
    if dry_run or not planned.partitions:
        return planned
    if empty:
        say(f"{table.name}: {len(empty):,} partitions are dropped, {empty[0]} to {empty[-1]}")
        names = sql.SQL(", ").join(map(sql.Literal, empty))
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(
                sql.Identifier(table.name), names
            )
        )
        wait_until_readable(connection, table)
    if mixed:
        _check_room(database, planned)  # dropping needs none, and makes some
        partition_rewrite.rewrite(connection, table, mixed, sync=_sync_of(database), say=say)
    given = sum(before.values()) - sum(sizes(connection, table).values())
    return replace(planned, bytes=max(given, 0))


def _counted(connection: psycopg.Connection, table: Table) -> tuple[Counter[str], Counter[str]]:
    """Count the rows of each partition that are gone, and those that are not."""
    length = (unit_of(connection, table) or DAY).length
    gone, live = Counter[str](), Counter[str]()
    for condition in stretches(connection, table):
        question = sql.SQL(_GONE).format(sql.Identifier(table.name), condition)
        for day, rows in connection.execute(question).fetchall():
            gone[f"{day:%Y-%m-%d}"[:length]] += rows
    for (day, _), rows in partition_rewrite.live(connection, table).items():
        live[day[:length]] += rows
    return gone, live


def _planned(
    table: Table,
    before: Counter[str],
    *,
    gone: Counter[str],
    live: Counter[str],
    mixed: Sequence[str],
    empty: Sequence[str],
) -> Compacted:
    """Estimate by the shares of rows what goes, and what must be free: one partition after the other is copied beside, and back."""
    chosen = {*mixed, *empty}
    shares = {name: before[name] * live[name] // (gone[name] + live[name]) for name in chosen}
    largest = max((shares[name] for name in mixed), default=0)
    given = sum(before[name] - shares[name] for name in chosen)
    return Compacted(
        table.name,
        len(chosen),
        len(mixed),
        sum(gone[name] for name in chosen),
        given,
        _TWICE * 2 * largest,
    )


def _check_room(database: Database, planned: Compacted) -> None:
    if database.folder is None:  # its disk is not ours to see
        return
    free = shutil.disk_usage(database.folder).free
    if free < planned.needed:
        raise NoRoom(
            f"{planned.table}: months in which other rows live are written anew, and {planned.needed:,} bytes must be free for that meanwhile, but "
            f"{database.folder} has {free:,}: make room, then say `mt-pipeline compact` again"
        )


def _sync_of(database: Database) -> Callable[[], None]:
    """QuestDB does not wait for the disk, and partitions are dropped that have long been there. Of a server elsewhere this cannot be seen to."""
    return os.sync if database.folder else lambda: None
