"""Removes the rows of captures from the views by marking them as `gone`.

`compact.py` frees their disk.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partitions import time_ranges
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

_MARK = """
INSERT ATOMIC INTO {0} ({1}, load, gone) SELECT {1}, load, true FROM {0} WHERE NOT gone AND {2}
"""


def remove(database: Database, capture: str, *, tables: Sequence[Table] = (FLOWS, PACKETS)) -> int:
    """Remove the rows of a capture from the views of these tables.

    Returns:
        How many rows of the last table were removed. `compact` frees their disk later.
    """
    rows = 0
    with database.connect() as connection:
        for table in tables:
            ensure_table(connection, table)
            wait_until_readable(connection, table)  # rows of a load that ended just now count too
            conditions = [
                sql.SQL("capture = %s") + time_range
                for time_range in time_ranges(connection, table)
            ]
            rows = sum(
                mark_removed(connection, table, condition, capture) for condition in conditions
            )
    return rows


def count(database: Database, *, experiment: str) -> int:
    """Count the rows of packets of an experiment that can be read."""
    with database.connect() as connection:
        ensure_table(connection)
        return _count(connection, PACKETS, sql.SQL("experiment = %s"), experiment)


def mark_removed(
    connection: psycopg.Connection, table: Table, condition: sql.Composable, *values: str | int
) -> int:
    """Mark rows as gone in one transaction, wait until readers see it, and return their number."""
    rows = _count(connection, table, condition, *values)
    if rows:
        keys = sql.SQL(", ").join(map(sql.Identifier, table.keys))
        statement = sql.SQL(_MARK).format(sql.Identifier(table.name), keys, condition)
        connection.execute(statement, values)
        wait_until_readable(connection, table)
    return rows


def _count(
    connection: psycopg.Connection, table: Table, condition: sql.Composable, *values: str | int
) -> int:
    query = sql.SQL("SELECT count() FROM {} WHERE NOT gone AND {}").format(
        sql.Identifier(table.name), condition
    )
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0
