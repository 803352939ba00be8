"""Gives back the disk of rows that are gone. QuestDB deletes whole partitions only, which are days here.

A day all of whose rows are gone is dropped; one where others live is written anew without those that are gone (`beside.py`). Loads and removals
share a lock that this takes alone (`turns.py`). Who reads views notices nothing; who reads the tables themselves misses a day for as long as it is
copied back.
"""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from mt_pipeline.questdb import beside, turns
from mt_pipeline.questdb.database import Database, DatabaseError
from mt_pipeline.questdb.schema import ensure_table, wait_until_readable
from mt_pipeline.questdb.tables import FLOWS, PACKETS, Table

log = logging.getLogger(__name__)

_TABLES = (PACKETS, FLOWS)
_GONE = "SELECT timestamp_floor('d', ts) AS day, count() FROM {} WHERE gone GROUP BY day"
_SIZES = "SELECT name, diskSize FROM table_partitions({})"
_STATEMENT_SECONDS = 24 * 3600  # the server's own limit is a minute, and a day may have many rows
_TWICE = 2  # QuestDB keeps what is written once more, in its log, for some minutes


class NoRoom(DatabaseError):
    """The disk has no room for the rows that are copied meanwhile."""


@dataclass(frozen=True)
class Compacted:
    """What goes of a table, or would go.

    Attributes:
        table: its name.
        days: partitions with rows that are gone.
        rewritten: those of them in which other rows live.
        rows: rows that go, all of them gone before.
        bytes: disk that was given back; of a dry run, and of days that are rewritten, the share of their rows.
        needed: free disk that the rewriting takes meanwhile.
    """

    table: str
    days: int
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
        DatabaseError: QuestDB does not answer, or what was left cannot be made good.
    """
    while True:
        with turns.shared(lock):
            with database.connect() as connection:
                broken_off = beside.is_broken_off(connection, *_TABLES)
            if not broken_off:
                yield
                return
        mend(database, lock)


def mend(database: Database, lock: Path) -> None:
    """Make good what a killed `compact` left, if there is anything.

    Raises:
        DatabaseError: QuestDB does not answer, or has suspended a table.
    """
    with turns.alone(lock), database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table in _TABLES:
            beside.mend(connection, table, sync=_sync_of(database), say=log.warning)


def compact(database: Database, lock: Path, *, dry_run: bool = False, say: Callable[[str], None] = log.info) -> list[Compacted]:
    """Give back the disk of rows that are gone; waits for loads that are under way, and holds up new ones.

    Args:
        database: where.
        lock: that of `undisturbed`.
        dry_run: only say what would go.
        say: told what is done, step by step.

    Raises:
        NoRoom: the disk has no room for the copies.
        DatabaseError: QuestDB does not answer, or has suspended a table.
    """
    with ExitStack() as held:
        if not dry_run:
            held.enter_context(turns.alone(lock))
        connection = held.enter_context(database.connect(statement_seconds=_STATEMENT_SECONDS))
        done = []
        for table in _TABLES:
            if not dry_run:
                beside.mend(connection, table, sync=_sync_of(database), say=say)
            done.append(_compact(connection, database, table, dry_run=dry_run, say=say))
        return done


def _compact(connection: psycopg.Connection, database: Database, table: Table, *, dry_run: bool, say: Callable[[str], None]) -> Compacted:
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    identifier = sql.Identifier(table.name)
    gone = {f"{day:%Y-%m-%d}": rows for day, rows in connection.execute(sql.SQL(_GONE).format(identifier)).fetchall()}
    live = beside.live(connection, table)
    days = Counter[str]()
    for (day, _), rows in live.items():
        days[day] += rows
    mixed = sorted(gone.keys() & days.keys())
    planned = _planned(connection, table, gone=gone, live=live, days=days)
    if dry_run or not gone:
        return planned
    before = sum(_sizes(connection, table).values())
    if empty := sorted(gone.keys() - days.keys()):
        say(f"{table.name}: {len(empty):,} days are dropped")
        names = sql.SQL(", ").join(map(sql.Literal, empty))
        connection.execute(sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(identifier, names))
        wait_until_readable(connection, table)
    if mixed:
        _check_room(database, planned)  # dropping days needs none, and makes some
        beside.rewrite(connection, table, mixed, sync=_sync_of(database), say=say)
    given = before - sum(_sizes(connection, table).values())
    return Compacted(table.name, planned.days, planned.rewritten, planned.rows, max(given, 0), planned.needed)


def _planned(connection: psycopg.Connection, table: Table, *, gone: dict[str, int], live: beside.Live, days: Counter[str]) -> Compacted:
    """Estimate by the shares of rows what goes, and what must be free."""
    sizes = _sizes(connection, table)
    mixed = gone.keys() & days.keys()
    experiments = {experiment for day, experiment in live if day in mixed}

    def share(day: str, rows: int) -> int:
        return sizes[day] * rows // (gone.get(day, 0) + days[day])

    copied = sum(share(day, rows) for (day, experiment), rows in live.items() if experiment in experiments)
    back = sum(share(day, days[day]) for day in mixed)
    given = sum(share(day, rows) for day, rows in gone.items())
    return Compacted(table.name, len(gone), len(mixed), sum(gone.values()), given, _TWICE * (copied + back))


def _check_room(database: Database, planned: Compacted) -> None:
    if database.folder is None:  # its disk is not ours to see
        return
    free = shutil.disk_usage(database.folder).free
    if free < planned.needed:
        raise NoRoom(
            f"{planned.table}: days in which other rows live are written anew, and {planned.needed:,} bytes must be free for that meanwhile, but "
            f"{database.folder} has {free:,}: make room, then say `mt-pipeline compact` again"
        )


def _sizes(connection: psycopg.Connection, table: Table) -> Counter[str]:
    """Say how much disk each day has; QuestDB may keep it in parts, with longer names."""
    sizes = Counter[str]()
    for name, size in connection.execute(sql.SQL(_SIZES).format(sql.Literal(table.name))).fetchall():
        sizes[name[:10]] += size
    return sizes


def _sync_of(database: Database) -> Callable[[], None]:
    """QuestDB does not wait for the disk, and days are dropped that have long been there. Of a server elsewhere this cannot be seen to."""
    return os.sync if database.folder else lambda: None
