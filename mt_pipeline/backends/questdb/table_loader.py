"""Loads the rows of captures into one table, and counts whether all of them can be read.

Which tables a capture needs, and in which order, is decided in `loader.py`.
"""

import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import Loaded, Part, RowsMissing
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.removal import mark_removed
from mt_pipeline.backends.questdb.senders import Senders, merged_batches
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.schema.tables import PACKETS, Table

CAPTURE = sql.Identifier("capture")
"""The column whose values are capture keys."""

_COUNTS = """
SELECT capture, count(), sum(CASE WHEN load = {} THEN 1 ELSE 0 END) FROM {}
WHERE NOT gone AND {} GROUP BY capture
"""

Counts = Mapping[str, tuple[int, int]]
"""Capture key to the rows that can be read, and how many of those this load wrote."""


def load_table(
    database: Database, parts: Sequence[Part], *, table: Table = PACKETS, number: int | None = None
) -> list[Loaded]:
    """Load captures: send, wait until readable, remove rows that only earlier loads have, count.

    Readers see each earlier row until it is replaced. The next load repairs an interrupted one.

    Args:
        database: where to.
        parts: the captures, each of them once.
        table: which table.
        number: of the load, if some of its rows were sent early.

    Raises:
        Unreachable: QuestDB does not answer, even after retries.
        NameTaken: a table or view of the user has the name that we need.
        LoadFailed: QuestDB refuses rows.
        RowsMissing: QuestDB does not store what was sent of a capture; later ones are unchecked.
    """
    with database.connect() as connection:
        ensure_table(connection, table, lock=database.lock)
        experiments = {part.experiment for part in parts}
        has_view = {
            experiment: ensure_view(
                connection, experiment, table, lock=database.lock, max_views=database.max_views
            )
            for experiment in experiments
        }
    # The number of a load is its time: later loads have larger ones.
    load = number or time.time_ns() // 1000
    with Senders(database, table) as senders:
        for batch in merged_batches(parts):
            senders.send(batch, load)
    before, after = _remove_earlier(database, table, parts, load)
    results = []
    for part in parts:
        stored, of_load = after.get(part.capture, (0, 0))
        replaced = before.get(part.capture, (0, 0))[0] - of_load
        skipped, view = dict(part.skipped), has_view[part.experiment]
        results.append(Loaded(of_load, part.read, skipped, replaced, view))
        if not stored == of_load == part.sent:
            raise RowsMissing(
                f"{part.capture}: sent {part.sent} rows, but QuestDB stores {stored} in "
                f"{table.name}, {of_load} of them from this load; launch the capture again",
                part.capture,
                results[-1],
            )
    return results


def _remove_earlier(
    database: Database, table: Table, parts: Sequence[Part], load: int
) -> tuple[Counts, Counts]:
    """Remove the rows that this load did not write. Returns the counts before and after that."""
    captures = [part.capture for part in parts]
    with database.connect() as connection:
        wait_until_readable(connection, table)
        before = after = _counts(connection, table, captures, load)
        if any(stored != of_load for stored, of_load in before.values()):
            for part in parts:
                part.check()
            condition = sql.SQL("{} AND load <> %s").format(among(CAPTURE, captures))
            mark_removed(connection, table, condition, *captures, load)
            after = _counts(connection, table, captures, load)
    return before, after


def _counts(
    connection: psycopg.Connection, table: Table, captures: Sequence[str], load: int
) -> Counts:
    query = sql.SQL(_COUNTS).format(
        sql.Literal(load), sql.Identifier(table.name), among(CAPTURE, captures)
    )
    return {
        capture: (int(stored), int(of_load))
        for capture, stored, of_load in connection.execute(query, captures)
    }
