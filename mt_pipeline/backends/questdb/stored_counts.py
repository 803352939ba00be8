"""Counts what QuestDB stores of every capture: two queries, however many captures there are."""

import re
from collections.abc import Sequence

import psycopg

from mt_pipeline.backends.loads import Damaged, Exhausted, StoredCounts
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partitions import sizes, time_ranges
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

_PACKETS_QUERY = """
SELECT capture, count(), sum(frame_len::LONG) FROM captured_packets
WHERE NOT gone{} GROUP BY capture
"""
_FLOWS_QUERY = """
SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows
WHERE NOT gone{} GROUP BY capture
"""
_EXHAUSTED = re.compile(
    r"\[(12|24)\]|errno=(12|24)\b|out of memory|memory limit|too many open files", re.IGNORECASE
)
"""ENOMEM, which Linux also reports for maps, and EMFILE, as QuestDB writes them."""

_STATEMENT_SECONDS = 3600  # for all columns of hundreds of millions of rows


def stored_counts(database: Database, *, thorough: bool = False) -> dict[str, StoredCounts]:
    """Count by capture key what can be read. Captures without rows are missing from the result.

    Args:
        database: where.
        thorough: read every column, because a power cut may have damaged any of them.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: a table of the user has the name.
        LoadFailed: QuestDB has suspended a table.
        Damaged: QuestDB cannot read all of its files.
        Exhausted: QuestDB has too little memory, maps or open files left to read them.
    """
    counts: list[dict[str, list[int]]] = []
    damaged, cures = [], []
    with database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table, query in ((PACKETS, _PACKETS_QUERY), (FLOWS, _FLOWS_QUERY)):
            ensure_table(connection, table)
            # After a kill QuestDB may still be writing rows into the table.
            wait_until_readable(connection, table)
            queries = [query, *([_every_column_query(table)] if thorough else [])]
            try:
                counts.append(_totals(connection, table, queries))
            except psycopg.OperationalError:
                raise
            except psycopg.DatabaseError as error:
                _check_exhausted(error)
                if not (unreadable := _unreadable(connection, table, queries)):
                    raise
                names = ", ".join(f"'{name}'" for name in unreadable)
                damaged.append(f"{len(unreadable)} partitions of {table.name}")
                cures.append(f"`ALTER TABLE {table.name} DROP PARTITION LIST {names}`")
    if damaged:
        raise Damaged(
            f"QuestDB cannot read its files of {' and '.join(damaged)}: run "
            f"{' and '.join(cures)} in QuestDB, then `mt-pipeline verify --repair`, "
            "which loads the lost rows again"
        )
    rows, flows = counts
    return {
        key: StoredCounts(*rows.get(key, (0, 0)), *flows.get(key, (0, 0))) for key in rows | flows
    }


def _totals(
    connection: psycopg.Connection, table: Table, queries: Sequence[str]
) -> dict[str, list[int]]:
    """Run the queries on all of a table, and add up the first query's numbers of each capture."""
    totals: dict[str, list[int]] = {}
    for time_range in time_ranges(connection, table):
        condition = time_range.as_string(connection)
        results = [connection.execute(query.format(condition)).fetchall() for query in queries]
        for key, *numbers in results[0]:
            before = totals.get(key, [0] * len(numbers))
            totals[key] = [
                earlier + (number or 0) for earlier, number in zip(before, numbers, strict=True)
            ]
    return totals


def _every_column_query(table: Table) -> str:
    """Build a query that reads every value of every column."""
    values = (
        f"sum(length({name}))" if kind in ("SYMBOL", "VARCHAR") else f"max({name})"
        for name, kind in table.types.items()
        if kind != "BOOLEAN"
    )
    return f"SELECT {', '.join(values)} FROM {table.name} WHERE ts IS NOT NULL{{}}"


def _unreadable(connection: psycopg.Connection, table: Table, queries: Sequence[str]) -> list[str]:
    """Return the names of the partitions whose files cannot be read, by querying each alone."""
    unreadable = []
    for name in sorted(sizes(connection, table)):
        try:
            for query in queries:
                connection.execute(query.format(f" AND ts IN '{name}'")).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            _check_exhausted(error)
            unreadable.append(name)
    return unreadable


def _check_exhausted(error: psycopg.DatabaseError) -> None:
    """Distinguish exhausted resources from damage, whose cure drops what cannot be read.

    Raises:
        Exhausted: memory, maps or open files are exhausted.
    """
    if _EXHAUSTED.search(str(error)):
        reason = str(error).partition("\n")[0]
        raise Exhausted(
            "QuestDB has too little memory, maps or open files left to read its tables "
            f"({reason}): no row is lost, and none must be dropped. Start it again when it has "
            "less to do; if that does not help, raise Linux's limit of maps "
            "(`sudo sysctl vm.max_map_count=262144`)"
        ) from None
