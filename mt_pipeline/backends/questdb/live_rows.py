"""Copies and counts the live rows of a table: those that are not marked as gone."""

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import LoadFailed
from mt_pipeline.backends.questdb.partitions import time_ranges
from mt_pipeline.schema.tables import Table

# A row without an experiment is not ours, but it must not be lost either. The count is by day, the
# unit of a table of an older release.
_COUNT = """
SELECT timestamp_floor('d', ts) AS day, coalesce(experiment, '') AS name, count() FROM {}
WHERE {}{} GROUP BY day, name
"""
_COPY = "INSERT INTO {} SELECT * FROM {} WHERE {} AND ts IN {}"

Counts = dict[tuple[str, str], int]
"""Day and experiment to live rows."""


def copy(connection: psycopg.Connection, source: Table, target: Table, period: str) -> None:
    """Copy the live rows of a day, a month or a year."""
    names = map(sql.Identifier, (target.name, source.name))
    connection.execute(sql.SQL(_COPY).format(*names, _is_live(source), sql.Literal(period)))


def count(connection: psycopg.Connection, table: Table, period: str | None = None) -> Counts:
    """Count the live rows of a day, a month or a year, or all of them."""
    conditions = (
        time_ranges(connection, table)
        if period is None
        else [sql.SQL(" AND ts IN {}").format(sql.Literal(period))]
    )
    counts = Counts()
    for condition in conditions:
        rows = connection.execute(
            sql.SQL(_COUNT).format(sql.Identifier(table.name), _is_live(table), condition)
        ).fetchall()
        counts |= {(f"{day:%Y-%m-%d}", experiment): number for day, experiment, number in rows}
    return counts


def check_complete(expected: Counts, actual: Counts, table: Table) -> None:
    """Check that a table has all expected rows.

    Raises:
        LoadFailed: rows are missing.
    """
    missing = sorted(key for key, rows in expected.items() if actual.get(key, 0) < rows)
    if missing:
        day, experiment = key = missing[0]
        raise LoadFailed(
            f"{table.name} has {actual.get(key, 0):,} of {expected[key]:,} rows of {experiment} on "
            f"{day}: the others are still where they were, and nothing is lost; look at QuestDB's "
            "disk and its log, then run `mt-pipeline compact` again"
        )


def _is_live(table: Table) -> sql.SQL:
    return sql.SQL("NOT gone" if "gone" in table.hidden else "true")
