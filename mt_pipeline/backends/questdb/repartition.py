"""Partitions the tables of older releases by month. QuestDB bears thirty years of months.

All rows are copied into a second table and counted, and the views read that. Then the table is
created anew, and the rows are copied back, by the steps of `partition_rewrite.py`. Its `repair`
resumes after a kill: before the old table is dropped it starts over, afterwards it continues.
"""

import shutil
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql

from mt_pipeline.backends.questdb import live_rows, partition_rewrite
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partition_rewrite import Echo
from mt_pipeline.backends.questdb.partitions import sizes, unit_of
from mt_pipeline.backends.questdb.views import entire_table, redirect_views
from mt_pipeline.schema.tables import Table

_WAL_FACTOR = 2  # QuestDB keeps a second copy of new rows in its log for some minutes
_PARTITION_BYTES = 400_000  # of the files of a partition, however few its rows
_ROWS_PER_SECOND = 200_000  # copied there and back, on two busy cores


def is_due(connection: psycopg.Connection, table: Table) -> bool:
    """Return whether the table exists, and an older release has partitioned it."""
    unit = unit_of(connection, table)
    return unit is not None and unit.name != table.partition_by


def repartition(
    connection: psycopg.Connection,
    database: Database,
    table: Table,
    *,
    sync: Callable[[], None],
    echo: Echo,
) -> None:
    """Partition a table anew, if an older release created it.

    Nobody else may write into the table, and there must be no copy of it. If the disk has no room
    for a copy, the table stays as it is, and keeps working.

    Args:
        connection: to QuestDB.
        database: the same.
        table: which table.
        sync: flushes to the disk what QuestDB has written.
        echo: receives each step before it begins.

    Raises:
        NameTaken: the table is not ours.
        LoadFailed: a copy lacks rows, or a table was suspended.
    """
    if not is_due(connection, table):
        return
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    rows = live_rows.count(connection, table)
    if not _has_room(database, table, rows, sizes(connection, table), echo):
        return
    years = {day[: len("2023")] for day, _ in rows}
    partition_rewrite.fill(
        connection, table, years, _create_statement(connection, table), sync=sync, echo=echo
    )
    echo(f"{table.name}: views read {table.beside}")
    redirect_views(connection, table, entire_table(table.beside))
    echo(f"{table.name}: it is dropped, and created anew")
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table.name)))
    partition_rewrite.recreate(connection, table)
    for year in sorted(years):
        echo(f"{table.name}: {year} is copied back")
        live_rows.copy(connection, partition_rewrite.complete(table), table, year)
        wait_until_readable(connection, table)
    partition_rewrite.finish(connection, table, sync=sync, echo=echo)


def _has_room(
    database: Database,
    table: Table,
    rows: live_rows.Counts,
    partitions: Mapping[str, int],
    echo: Echo,
) -> bool:
    """Return whether the disk has room for a copy, and announce what follows from that."""
    unit, number = table.partition_by.lower(), sum(rows.values())
    months = {day[: len("2023-11")] for day, _ in rows}
    needed = _WAL_FACTOR * sum(partitions.values()) + _PARTITION_BYTES * len(months)
    free = _free_bytes(database)
    if free is not None and free < needed:
        echo(
            f"{table.name} keeps its {len(partitions):,} partitions: to cut it by {unit}, "
            f"{needed:,} bytes must be free, and there are {free:,}; it goes on working as before; "
            "make room, then run `mt-pipeline compact`"
        )
        return False
    echo(
        f"{table.name}: its rows, {number:,}, are copied into partitions by {unit}, as an older "
        f"release made partitions by day, {len(partitions):,} of them; that takes about "
        f"{1 + number // (60 * _ROWS_PER_SECOND):,} min; you may interrupt it, and nothing is lost"
    )
    return True


def _create_statement(connection: psycopg.Connection, table: Table) -> str:
    """Build the statement that creates a table with the same columns, and other partitions.

    The columns include those that the user has added.
    """
    (present,) = connection.execute(
        sql.SQL("SHOW CREATE TABLE {}").format(sql.Identifier(table.name))
    ).fetchone() or ("",)
    text = present[present.index("(") :].rstrip(";\n").replace("{", "{{").replace("}", "}}")
    columns, _, options = text.rpartition(" PARTITION BY ")
    _, _, keys = options.partition("\nDEDUP ")
    return f"CREATE TABLE {{}} {columns} PARTITION BY {table.partition_by} WAL DEDUP {keys}"


def _free_bytes(database: Database) -> int | None:
    """Return how much disk is free; None for a server whose disk we do not see."""
    return shutil.disk_usage(database.folder).free if database.folder else None
