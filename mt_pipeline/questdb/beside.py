r"""Rewrites days without the rows that are gone, by a table beside, and makes good what a kill left of that.

QuestDB has no DELETE, so a day with other rows in it is dropped and copied back. Meanwhile views read a table beside that has all rows of their
experiments: a view changes tables without a gap. Nobody loads, as `compact.py` holds the lock of loads alone; and whoever takes a share of that lock
finds either no table beside, or what a kill left, and calls `mend` first. The tables that are there tell the state; T is the table:

| there is | written by | where the rows are | `mend` |
|---|---|---|---|
| only T | | in T | does nothing |
| `filling_T` | copying day by day | all in T | drops it |
| `beside_T`: its name once it is counted, and on the disk | views turned to it; each day dropped from T and copied back | of its experiments all in \
`beside_T`, of others all in T | copies back the days of which T has less, counts, turns the views back, drops it |

The steps of `mend` and those of an undisturbed end are the same, and doing one twice changes nothing: a row that T has already replaces itself. So a
kill of `mend` is made good by the next one.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from mt_pipeline.questdb.conditions import among
from mt_pipeline.questdb.database import LoadFailed
from mt_pipeline.questdb.schema import ensure_table, turn_views, wait_until_readable
from mt_pipeline.questdb.tables import Table

# A row without an experiment is none of ours, and must not be lost either.
_LIVE = "SELECT timestamp_floor('d', ts) AS day, coalesce(experiment, '') AS one, count() FROM {} WHERE NOT gone GROUP BY day, one"
_COPY = "INSERT INTO {} SELECT * FROM {} WHERE NOT gone AND ts IN {}{}"
_OURS = "SELECT count() FROM query_activity() WHERE query LIKE {} AND query NOT LIKE '%query_activity%'"
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


def rewrite(connection: psycopg.Connection, table: Table, days: Collection[str], *, sync: Callable[[], None], say: Say) -> None:
    """Rewrite days of a table with the rows that are not gone. Nobody else writes into it, and there is no table beside.

    Args:
        connection: to QuestDB.
        table: which table.
        days: `2023-11-14`, those in which rows are gone and others are not.
        sync: brings what QuestDB has written to the disk.
        say: told each step before it begins.

    Raises:
        LoadFailed: a copy does not have all rows, or a table was suspended.
    """
    wanted = live(connection, table)
    experiments = {experiment for day, experiment in wanted if day in days}
    wanted = {place: rows for place, rows in wanted.items() if place[1] in experiments}
    beside = filling(table)
    try:
        say(f"{table.name}: {sum(wanted.values()):,} rows of {len(experiments):,} experiments are copied to {beside.name}")
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(sql.Identifier(beside.name), sql.Identifier(table.name)))
        for day in sorted({day for day, _ in wanted}):
            say(f"{table.name}: {day} is copied")
            _copy(connection, table, beside, day, experiments=experiments)
        wait_until_readable(connection, beside)
        _compare(wanted, live(connection, beside), beside)
    except BaseException:
        with suppress(psycopg.Error):  # else it is dropped by whoever comes next
            _drop(connection, beside)
        raise
    say(f"{table.name}: {beside.name} is brought to the disk")
    sync()
    say(f"{table.name}: {beside.name} is complete")
    connection.execute(sql.SQL("RENAME TABLE {} TO {}").format(sql.Identifier(beside.name), sql.Identifier(table.beside)))
    say(f"{table.name}: views are turned to {table.beside}")
    turn_views(connection, table, to=table.beside, experiments=experiments)
    for day in sorted(days):
        say(f"{table.name}: {day} is dropped")
        connection.execute(sql.SQL("ALTER TABLE {} DROP PARTITION LIST {}").format(sql.Identifier(table.name), sql.Literal(day)))
        say(f"{table.name}: {day} is copied back")
        _copy(connection, complete(table), table, day)
        wait_until_readable(connection, table)
    _end(connection, table, sync=sync, say=say)


def is_broken_off(connection: psycopg.Connection, *tables: Table) -> bool:
    """Say whether a rewriting of one of the tables is under way, or was killed."""
    names = [name for table in tables for name in (filling(table).name, table.beside)]
    query = sql.SQL("SELECT count() FROM tables() WHERE {}").format(among(sql.Identifier("table_name"), names))
    return connection.execute(query, names).fetchone() != (0,)


def mend(connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], say: Say) -> None:
    """Make good what a kill left of a rewriting, if there is anything. Nobody else writes into the table.

    Raises:
        LoadFailed: the rows cannot be copied back; they stay where they are.
    """
    if _there_is(connection, filling(table)):
        ensure_table(connection, filling(table))  # one of a user's own is named, and stays
        _drop(connection, filling(table))
    if not _there_is(connection, complete(table)):
        return
    ensure_table(connection, table)
    ensure_table(connection, complete(table))  # a newer release has columns that are to be copied, too
    say(f"{table.name}: rows that a broken off `mt-pipeline compact` left in {table.beside} are copied back")
    _wait_for_the_dead(connection, table)
    for one in (table, complete(table)):
        wait_until_readable(connection, one)
    held = live(connection, table)
    for day in sorted({place[0] for place, rows in live(connection, complete(table)).items() if held.get(place, 0) < rows}):
        say(f"{table.name}: {day} is copied back")
        _copy(connection, complete(table), table, day)
    wait_until_readable(connection, table)
    _end(connection, table, sync=sync, say=say)


def _end(connection: psycopg.Connection, table: Table, *, sync: Callable[[], None], say: Say) -> None:
    """Let go of the table beside, once the table has all of its rows."""
    _compare(live(connection, complete(table)), live(connection, table), table)
    say(f"{table.name} is brought to the disk")
    sync()
    say(f"{table.name}: views are turned back")
    turn_views(connection, table, to=table.name)
    say(f"{table.name}: {table.beside} is dropped")
    _drop(connection, complete(table))


def _copy(connection: psycopg.Connection, source: Table, target: Table, day: str, *, experiments: Collection[str] = ()) -> None:
    """Copy the rows of a day that are not gone: of these experiments, or all."""
    names = sorted(experiments)
    which = sql.SQL(" AND {}").format(among(sql.SQL("coalesce(experiment, '')"), names)) if names else sql.SQL("")
    copy = sql.SQL(_COPY).format(sql.Identifier(target.name), sql.Identifier(source.name), sql.Literal(day), which)
    connection.execute(copy, names)


def live(connection: psycopg.Connection, table: Table) -> Live:
    """Count the rows that are not gone."""
    rows = connection.execute(sql.SQL(_LIVE).format(sql.Identifier(table.name))).fetchall()
    return {(f"{day:%Y-%m-%d}", experiment): count for day, experiment, count in rows}


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
    return connection.execute("SELECT count() FROM tables() WHERE table_name = %s", (table.name,)).fetchone() != (0,)


def _drop(connection: psycopg.Connection, table: Table) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table.name)))


def _wait_for_the_dead(connection: psycopg.Connection, table: Table) -> None:
    """Wait for a statement of who was killed: QuestDB works on it for a while, and its rows would come after those of the next load."""
    while connection.execute(sql.SQL(_OURS).format(sql.Literal(f"%{table.beside}%"))).fetchone() != (0,):
        time.sleep(_PAUSE)
