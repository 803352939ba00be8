"""Cuts tables of older releases anew: days become months, of which QuestDB bears thirty years.

All rows are copied beside, counted, and shown from there by the views; then the table is made anew and they are copied back, by the steps of
`beside.py`, whose `mend` makes good what a kill left: before the old table is dropped it begins again, and afterwards it goes on.
"""

import shutil
from collections.abc import Callable

import psycopg
from psycopg import sql

from mt_pipeline.backends.questdb import partition_rewrite
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, turn_views, wait_until_readable, whole
from mt_pipeline.backends.questdb.partition_rewrite import Say
from mt_pipeline.backends.questdb.partitions import sizes, unit_of
from mt_pipeline.schema.tables import Table

_TWICE = 2  # QuestDB keeps what is written once more, in its log, for some minutes
_PARTITION_BYTES = 400_000  # of the files of a partition, however few its rows
_ROWS_A_SECOND = 200_000  # copied twice, on two busy cores


def is_due(connection: psycopg.Connection, table: Table) -> bool:
    """Say whether there is such a table, and an older release has cut it."""
    unit = unit_of(connection, table)
    return unit is not None and unit.name != table.partition_by


def repartition(
    connection: psycopg.Connection,
    database: Database,
    table: Table,
    *,
    sync: Callable[[], None],
    say: Say,
) -> None:
    """Cut a table anew, if an older release made it. Nobody else writes into it, and there is no table beside.

    Without room for a copy it stays as it is, and goes on working.

    Args:
        connection: to QuestDB.
        database: the same.
        table: which table.
        sync: brings what QuestDB has written to the disk.
        say: told each step before it begins.

    Raises:
        NameTaken: the table is not ours.
        LoadFailed: a copy does not have all rows, or a table was suspended.
    """
    if not is_due(connection, table):
        return
    ensure_table(connection, table)
    wait_until_readable(connection, table)
    rows, old = partition_rewrite.live(connection, table), sizes(connection, table)
    months, years = ({day[: len(form)] for day, _ in rows} for form in ("2023-11", "2023"))
    count, needed = sum(rows.values()), _TWICE * sum(old.values()) + _PARTITION_BYTES * len(months)
    unit = table.partition_by.lower()
    if (free := _free(database)) is not None and free < needed:
        say(
            f"{table.name} keeps its {len(old):,} partitions: to cut it by {unit}, {needed:,} bytes must be free, and there are {free:,}; it goes on "
            "working as before; make room, then say `mt-pipeline compact`"
        )
        return
    minutes = 1 + count // (60 * _ROWS_A_SECOND)
    say(
        f"{table.name}: an older release cut it into {len(old):,} partitions; its {count:,} rows are copied into one by {unit} now; nothing is lost "
        f"if that is interrupted; some {minutes:,} minutes"
    )
    partition_rewrite.fill(connection, table, years, _like(connection, table), sync=sync, say=say)
    say(f"{table.name}: views are turned to {table.beside}")
    turn_views(connection, table, whole(table.beside))
    say(f"{table.name}: it is dropped, and made anew")
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table.name)))
    partition_rewrite.ensure_like(connection, table)
    for year in sorted(years):
        say(f"{table.name}: {year} is copied back")
        partition_rewrite.copy(connection, partition_rewrite.complete(table), table, year)
        wait_until_readable(connection, table)
    partition_rewrite.finish(connection, table, sync=sync, say=say)


def _like(connection: psycopg.Connection, table: Table) -> str:
    """Build the statement that makes a table with the same columns, also those of a user's own, and other partitions."""
    (made,) = connection.execute(
        sql.SQL("SHOW CREATE TABLE {}").format(sql.Identifier(table.name))
    ).fetchone() or ("",)
    columns = made[made.index("(") :].rstrip(";\n").replace("{", "{{").replace("}", "}}")
    cut, _, keys = columns.rpartition(" PARTITION BY ")
    _, _, keys = keys.partition("\nDEDUP ")
    return f"CREATE TABLE {{}} {cut} PARTITION BY {table.partition_by} WAL DEDUP {keys}"


def _free(database: Database) -> int | None:
    """Say how much disk is free; None if it is not ours to see."""
    return shutil.disk_usage(database.folder).free if database.folder else None
