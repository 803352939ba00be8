r"""Rewrites partitions without the rows that are gone, by a table beside, and makes good what a kill left of that.

QuestDB has no DELETE, so a partition with other rows in it is dropped and copied back, one after the other. Meanwhile views read a table beside in
its place: a view changes what it reads without a gap. Nobody loads, as `compact.py` holds the lock of loads alone; and whoever takes a share of that
lock finds either no table beside, or what a kill left, and calls `mend` first. `repartition.py` does the same with all of a table at once. The tables
that are there tell the state; T is the table:

| there is | written by | where the rows are | `mend` |
|---|---|---|---|
| only T | | in T | does nothing |
| `filling_T` | copying into it | all in T | drops it |
| `beside_T`: its name once it is counted, and on the disk | views turned to it; its partitions dropped from T and copied back | each in T or in \
`beside_T`, many in both | copies back the months of which T has less, counts, turns the views back, drops it |

The steps of `mend` and those of an undisturbed end are the same, and doing one twice changes nothing: a row that T has already replaces itself. So a
kill of `mend` is made good by the next one.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import LoadFailed
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.ddl import (
    ensure_table,
    patched,
    turn_views,
    wait_until_readable,
    whole,
)
from mt_pipeline.backends.questdb.partitions import ends_of, stretches
from mt_pipeline.schema.tables import Table

# A row without an experiment is none of ours, and must not be lost either. Days, as a table of an older release is dropped by these.
_LIVE = "SELECT timestamp_floor('d', ts) AS day, coalesce(experiment, '') AS one, count() FROM {} WHERE {}{} GROUP BY day, one"
_COPY = "INSERT INTO {} SELECT * FROM {} WHERE {} AND ts IN {}"
_OURS = (
    "SELECT count() FROM query_activity() WHERE query LIKE {} AND query NOT LIKE '%query_activity%'"
)
_PAUSE = 0.1

Say = Callable[[str], None]
Live = dict[tuple[str, str], int]
"""Day and experiment to rows that are not gone."""


def filling(table: Table) -> Table:
    """Name the table beside as long as it is not complete."""
    return replace(table, name=f"filling_{table.name}")


def complete(table: Table) -> Table:
    """Name the table beside when it is complete."""
    return replace(table, name=table.beside)


def rewrite(
    connection: psycopg.Connection,
    table: Table,
    partitions: Collection[str],
    *,
    sync: Callable[[], None],
    say: Say,
) -> None:
    """Rewrite partitions of a table with the rows that are not gone. Nobody else writes into it, and there is no table beside.

    Args:
        connection: to QuestDB.
        table: which table.
        partitions: by name, such as `2023-11`: those in which rows are gone and others are not.
        sync: brings what QuestDB has written to the disk.
        say: told each step before it begins.

    Raises:
        LoadFailed: a copy does not have all rows, or a table was suspended.
    """
    for partition in sorted(partitions):
        experiments = {experiment for _, experiment in live(connection, table, partition)}
        fill(connection, table, [partition], "CREATE TABLE {} (LIKE {})", sync=sync, say=say)
        say(f"{table.name}: views read {table.beside} for {partition}")
        turn_views(connection, table, patched(table, *ends_of(partition)), experiments)
        say(f"{table.name}: {partition} is dropped")
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(
                sql.Identifier(table.name), sql.Literal(partition)
            )
        )
        say(f"{table.name}: {partition} is copied back")
        copy(connection, complete(table), table, partition)
        finish(connection, table, sync=sync, say=say)


def fill(
    connection: psycopg.Connection,
    table: Table,
    parts: Collection[str],
    create: str,
    *,
    sync: Callable[[], None],
    say: Say,
) -> None:
    """Make the table beside, with the rows of some days, months or years that are not gone, counted and on the disk.

    Args:
        connection: to QuestDB.
        table: which table.
        parts: such as `2023-11`.
        create: the statement that makes it, with a place for its name and one for that of the table.
        sync: brings what QuestDB has written to the disk.
        say: told each step before it begins.

    Raises:
        LoadFailed: the copy does not have all rows, or a table was suspended.
    """
    target, expected = filling(table), Live()
    try:
        connection.execute(
            sql.SQL(create).format(sql.Identifier(target.name), sql.Identifier(table.name))
        )
        for part in sorted(parts):
            say(f"{table.name}: {part} is copied")
            expected |= live(connection, table, part)
            copy(connection, table, target, part)
            wait_until_readable(connection, target)
        _compare(expected, live(connection, target), target)
    except BaseException:
        with suppress(psycopg.Error):  # else it is dropped by whoever comes next
            _drop(connection, target)
        raise
    say(f"{table.name}: {target.name} is brought to the disk")
    sync()
    say(f"{table.name}: {target.name} is complete")
    connection.execute(
        sql.SQL("RENAME TABLE {} TO {}").format(
            sql.Identifier(target.name), sql.Identifier(table.beside)
        )
    )


def is_broken_off(connection: psycopg.Connection, *tables: Table) -> bool:
    """Say whether a rewriting of one of the tables is under way, or was killed."""
    names = [name for table in tables for name in (filling(table).name, table.beside)]
    query = sql.SQL("SELECT count() FROM tables() WHERE {}").format(
        among(sql.Identifier("table_name"), names)
    )
    return connection.execute(query, names).fetchone() != (0,)


def mend(
    connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], say: Say
) -> None:
    """Make good what a kill left of a rewriting, if there is anything. Nobody else writes into the table.

    Raises:
        LoadFailed: the rows cannot be copied back; they stay where they are.
    """
    if _there_is(connection, filling(table)):
        ensure_table(connection, filling(table))  # one of a user's own is named, and stays
        _drop(connection, filling(table))
    if not _there_is(connection, complete(table)):
        return
    ensure_like(connection, table)
    ensure_table(connection, table)
    ensure_table(
        connection, complete(table)
    )  # a newer release has columns that are to be copied, too
    say(
        f"{table.name}: rows that were left in {table.beside} when their rewriting broke off are copied back"
    )
    _wait_for_the_dead(connection, table)
    for one in (table, complete(table)):
        wait_until_readable(connection, one)
    stored = live(connection, table)
    for month in sorted(
        {
            day[: len("2023-11")]
            for (day, one), rows in live(connection, complete(table)).items()
            if stored.get((day, one), 0) < rows
        }
    ):
        say(f"{table.name}: {month} is copied back")
        copy(connection, complete(table), table, month)
    finish(connection, table, sync=sync, say=say)


def ensure_like(connection: psycopg.Connection, table: Table) -> None:
    """Make a table that was dropped anew, as the table beside is."""
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {})").format(
            sql.Identifier(table.name), sql.Identifier(table.beside)
        )
    )


def finish(
    connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], say: Say
) -> None:
    """Let go of the table beside, once the table has all of its rows."""
    wait_until_readable(connection, table)
    rows = live(connection, complete(table))
    years = {day[: len("2023")] for day, _ in rows}
    _compare(
        rows, Live(pair for year in years for pair in live(connection, table, year).items()), table
    )
    say(f"{table.name} is brought to the disk")
    sync()
    say(f"{table.name}: views are turned back")
    turn_views(connection, table, whole(table.name))
    say(f"{table.name}: {table.beside} is dropped")
    _drop(connection, complete(table))


def copy(connection: psycopg.Connection, source: Table, target: Table, part: str) -> None:
    """Copy the rows of a day, a month or a year that are not gone."""
    names = map(sql.Identifier, (target.name, source.name))
    connection.execute(sql.SQL(_COPY).format(*names, _is_live(source), sql.Literal(part)))


def live(connection: psycopg.Connection, table: Table, part: str | None = None) -> Live:
    """Count the rows that are not gone: of a day, a month or a year, or all."""
    parts = (
        stretches(connection, table)
        if part is None
        else [sql.SQL(" AND ts IN {}").format(sql.Literal(part))]
    )
    found = Live()
    for condition in parts:
        rows = connection.execute(
            sql.SQL(_LIVE).format(sql.Identifier(table.name), _is_live(table), condition)
        ).fetchall()
        found |= {(f"{day:%Y-%m-%d}", experiment): count for day, experiment, count in rows}
    return found


def _is_live(table: Table) -> sql.SQL:
    return sql.SQL("NOT gone" if "gone" in table.hidden else "true")


def _compare(wanted: Live, held: Live, where: Table) -> None:
    """Make sure that nothing is missing.

    Raises:
        LoadFailed: something is.
    """
    if short := sorted(place for place, rows in wanted.items() if held.get(place, 0) < rows):
        day, experiment = short[0]
        raise LoadFailed(
            f"{where.name} has {held.get(short[0], 0):,} of {wanted[short[0]]:,} rows of {experiment} on {day}: the others are where they were, "
            "nothing is lost; look at QuestDB's disk and its log, then say `mt-pipeline compact` again"
        )


def _there_is(connection: psycopg.Connection, table: Table) -> bool:
    return connection.execute(
        "SELECT count() FROM tables() WHERE table_name = %s", (table.name,)
    ).fetchone() != (0,)


def _drop(connection: psycopg.Connection, table: Table) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table.name)))


def _wait_for_the_dead(connection: psycopg.Connection, table: Table) -> None:
    """Wait for a statement of who was killed: QuestDB works on it for a while, and its rows would come after those of the next load."""
    while connection.execute(
        sql.SQL(_OURS).format(sql.Literal(f"%{table.beside}%"))
    ).fetchone() != (0,):
        time.sleep(_PAUSE)
