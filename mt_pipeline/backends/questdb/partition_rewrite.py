r"""Rewrites partitions without the rows that are gone, and repairs a rewrite that was killed.

QuestDB has no DELETE. So the live rows of a partition are copied into a second table, the
partition is dropped, and the rows are copied back. Meanwhile the views read the copy; a view
changes its source without a gap. `compact.py` holds the lock of loads alone, so nobody loads.
Whoever shares that lock afterwards finds either no copy, or the remains of a killed rewrite, and
calls `repair` first. `repartition.py` uses the same steps for all partitions at once.

The names of the tables record the state. T is the table:

| tables | written by | where the rows are | `repair` |
|---|---|---|---|
| only T | | in T | does nothing |
| `filling_T` | copying into it | all in T | drops it |
| `beside_T` | renaming, once the copy is counted and synced. Then the views are redirected, and \
partitions of T dropped and copied back | each in T or in `beside_T`, many in both | copies back \
the months of which T has fewer rows, counts, restores the views, drops it |

`repair` takes the steps of a normal end. Each step may be repeated, because a row that T already
has replaces itself. So a killed `repair` is repaired by the next one.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from mt_pipeline.backends.questdb import live_rows
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partitions import bounds
from mt_pipeline.backends.questdb.views import entire_table, patched, redirect_views
from mt_pipeline.schema.tables import Table

_ACTIVE = (
    "SELECT count() FROM query_activity() WHERE query LIKE {} AND query NOT LIKE '%query_activity%'"
)
_PAUSE = 0.1

Echo = Callable[[str], None]


def filling(table: Table) -> Table:
    """Return the copy of a table as it is named until it is complete."""
    return replace(table, name=f"filling_{table.name}")


def complete(table: Table) -> Table:
    """Return the copy of a table as it is named when it is complete."""
    return replace(table, name=table.beside)


def rewrite(
    connection: psycopg.Connection,
    table: Table,
    partitions: Collection[str],
    *,
    sync: Callable[[], None],
    echo: Echo,
) -> None:
    """Rewrite partitions of a table with their live rows.

    Nobody else may write into the table, and there must be no copy of it.

    Args:
        connection: to QuestDB.
        table: which table.
        partitions: names such as `2023-11`; some of their rows are gone, others are live.
        sync: flushes to the disk what QuestDB has written.
        echo: receives each step before it begins.

    Raises:
        LoadFailed: a copy lacks rows, or a table was suspended.
    """
    for partition in sorted(partitions):
        counts = live_rows.count(connection, table, partition)
        experiments = {experiment for _, experiment in counts}
        fill(connection, table, [partition], "CREATE TABLE {} (LIKE {})", sync=sync, echo=echo)
        echo(f"{table.name}: views read {table.beside} for {partition}")
        redirect_views(connection, table, patched(table, *bounds(partition)), experiments)
        echo(f"{table.name}: {partition} is dropped")
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(
                sql.Identifier(table.name), sql.Literal(partition)
            )
        )
        echo(f"{table.name}: {partition} is copied back")
        live_rows.copy(connection, complete(table), table, partition)
        finish(connection, table, sync=sync, echo=echo)


def fill(
    connection: psycopg.Connection,
    table: Table,
    periods: Collection[str],
    create: str,
    *,
    sync: Callable[[], None],
    echo: Echo,
) -> None:
    """Create the copy with the live rows of some days, months or years; count and sync it.

    Args:
        connection: to QuestDB.
        table: which table.
        periods: such as `2023-11`.
        create: the statement that creates the copy, with placeholders for its name and the table's.
        sync: flushes to the disk what QuestDB has written.
        echo: receives each step before it begins.

    Raises:
        LoadFailed: the copy lacks rows, or a table was suspended.
    """
    target, expected = filling(table), live_rows.Counts()
    try:
        connection.execute(
            sql.SQL(create).format(sql.Identifier(target.name), sql.Identifier(table.name))
        )
        for period in sorted(periods):
            echo(f"{table.name}: {period} is copied")
            expected |= live_rows.count(connection, table, period)
            live_rows.copy(connection, table, target, period)
            wait_until_readable(connection, target)
        live_rows.check_complete(expected, live_rows.count(connection, target), target)
    except BaseException:
        with suppress(psycopg.Error):  # the next `repair` drops it otherwise
            _drop(connection, target)
        raise
    echo(f"{table.name}: {target.name} is synced to the disk")
    sync()
    echo(f"{table.name}: {target.name} is complete")
    connection.execute(
        sql.SQL("RENAME TABLE {} TO {}").format(
            sql.Identifier(target.name), sql.Identifier(table.beside)
        )
    )


def is_unfinished(connection: psycopg.Connection, *tables: Table) -> bool:
    """Return whether a rewrite of one of the tables is under way, or was killed."""
    names = [name for table in tables for name in (filling(table).name, table.beside)]
    query = sql.SQL("SELECT count() FROM tables() WHERE {}").format(
        among(sql.Identifier("table_name"), names)
    )
    return connection.execute(query, names).fetchone() != (0,)


def repair(
    connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], echo: Echo
) -> None:
    """Finish or undo a killed rewrite, if there is one. Nobody else may write into the table.

    Raises:
        LoadFailed: the rows cannot be copied back; they stay where they are.
    """
    if _exists(connection, filling(table)):
        ensure_table(connection, filling(table))  # raises NameTaken for a table of the user
        _drop(connection, filling(table))
    if not _exists(connection, complete(table)):
        return
    recreate(connection, table)
    # A newer release has more columns. Both tables need them for the copy.
    ensure_table(connection, table)
    ensure_table(connection, complete(table))
    echo(f"{table.name}: rows that an interrupted rewrite left in {table.beside} are copied back")
    _wait_for_killed_statements(connection, table)
    for readable in (table, complete(table)):
        wait_until_readable(connection, readable)
    stored, copied = (live_rows.count(connection, each) for each in (table, complete(table)))
    incomplete = {
        day[: len("2023-11")]
        for (day, experiment), rows in copied.items()
        if stored.get((day, experiment), 0) < rows
    }
    for month in sorted(incomplete):
        echo(f"{table.name}: {month} is copied back")
        live_rows.copy(connection, complete(table), table, month)
    finish(connection, table, sync=sync, echo=echo)


def recreate(connection: psycopg.Connection, table: Table) -> None:
    """Create a table that was dropped again, like its copy."""
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {})").format(
            sql.Identifier(table.name), sql.Identifier(table.beside)
        )
    )


def finish(
    connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], echo: Echo
) -> None:
    """Restore the views and drop the copy, once the table has all of its rows.

    Raises:
        LoadFailed: the table lacks rows.
    """
    wait_until_readable(connection, table)
    expected = live_rows.count(connection, complete(table))
    actual = live_rows.Counts()
    for year in {day[: len("2023")] for day, _ in expected}:
        actual |= live_rows.count(connection, table, year)
    live_rows.check_complete(expected, actual, table)
    echo(f"{table.name} is synced to the disk")
    sync()
    echo(f"{table.name}: views read it again")
    redirect_views(connection, table, entire_table(table.name))
    echo(f"{table.name}: {table.beside} is dropped")
    _drop(connection, complete(table))


def _exists(connection: psycopg.Connection, table: Table) -> bool:
    return connection.execute(
        "SELECT count() FROM tables() WHERE table_name = %s", (table.name,)
    ).fetchone() != (0,)


def _drop(connection: psycopg.Connection, table: Table) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table.name)))


def _wait_for_killed_statements(connection: psycopg.Connection, table: Table) -> None:
    """Wait until QuestDB has finished the statements of a killed process.

    Their rows would otherwise arrive after those of the next load.
    """
    query = sql.SQL(_ACTIVE).format(sql.Literal(f"%{table.beside}%"))
    while connection.execute(query).fetchone() != (0,):
        time.sleep(_PAUSE)
