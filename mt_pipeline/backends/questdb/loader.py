"""Loads the rows of captures into a table, and makes sure by counting that they can be read; removes them again.

Which rows, and in which order the tables of a capture are loaded, is `flow_loader.py`.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import psycopg
import pyarrow as pa
import pyarrow.compute
from psycopg import sql

from mt_pipeline.backends.loads import Loaded, Part, RowsMissing
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, ensure_view, wait_until_readable
from mt_pipeline.backends.questdb.ilp import Line
from mt_pipeline.backends.questdb.parquet_import import ParquetLine, own_folder
from mt_pipeline.backends.questdb.partitions import stretches
from mt_pipeline.rows.packets import BATCH, joined
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

_LINES = 2

CAPTURE = sql.Identifier("capture")
"""The column whose values are capture keys."""


def load(database: Database, parts: Sequence[Part], *, table: Table = PACKETS) -> list[Loaded]:
    """Load captures: send, wait until readable, mark what earlier loads had and this one lacks, count.

    Readers see the earlier rows until each is replaced. A load that breaks off is made good by the next one.

    Args:
        database: where to.
        parts: the captures, each of them once.
        table: which table.

    Raises:
        Unreachable: QuestDB does not answer, also after some patience.
        NameTaken: the table or a view would be in the way of one of the user's own.
        LoadFailed: QuestDB refuses rows.
        RowsMissing: of a capture it does not hold what was sent; of those after it nothing is said.
    """
    with database.connect() as connection:
        ensure_table(connection, table, lock=database.lock)
        experiments = {part.experiment for part in parts}
        has_view = {
            experiment: ensure_view(connection, experiment, table, lock=database.lock)
            for experiment in experiments
        }
    number = time.time_ns() // 1000  # a load is named by its time: later ones are larger
    with _Lines(database, table) as lines:
        for batch in _together(parts):
            lines.send(batch, number)
    captures = [part.capture for part in parts]
    with database.connect() as connection:
        wait_until_readable(connection, table)
        before = held = _held(connection, table, captures, number)
        if any(all_of_it != of_this_load for all_of_it, of_this_load in held.values()):
            _mark_gone(
                connection,
                table,
                sql.SQL("{} AND load <> %s").format(among(CAPTURE, captures)),
                *captures,
                number,
            )
            held = _held(connection, table, captures, number)
    done = []
    for part in parts:
        stored, of_this_load = held.get(part.capture, (0, 0))
        earlier, _ = before.get(part.capture, (0, 0))
        done.append(
            Loaded(
                of_this_load,
                part.read,
                dict(part.skipped),
                earlier - of_this_load,
                has_view[part.experiment],
            )
        )
        if not stored == of_this_load == part.sent:
            raise RowsMissing(
                f"{part.capture}: sent {part.sent} rows, but QuestDB holds {stored} in {table.name}, {of_this_load} of them of this load; "
                "launch the capture again",
                part.capture,
                done[-1],
            )
    return done


def remove(database: Database, capture: str, *, tables: Sequence[Table] = (FLOWS, PACKETS)) -> int:
    """Take the rows of a capture out of all views, of these tables; their disk comes back later. Returns how many, of the last table."""
    rows = 0
    with database.connect() as connection:
        for table in tables:
            ensure_table(connection, table)
            stretch_by_stretch = [
                sql.SQL("capture = %s") + stretch for stretch in stretches(connection, table)
            ]
            rows = sum(
                _mark_gone(connection, table, which, capture) for which in stretch_by_stretch
            )
    return rows


def count(database: Database, *, experiment: str) -> int:
    """Count the rows of an experiment that can be read."""
    with database.connect() as connection:
        ensure_table(connection)
        return _count(connection, PACKETS, sql.SQL("experiment = %s"), experiment)


def _together(parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    """Give the rows of all captures, those of small ones in one batch, as QuestDB compiles the INSERT of each anew."""
    gathered: list[pa.RecordBatch] = []
    for part in parts:
        for batch in part.storable():
            if gathered and sum(one.num_rows for one in (*gathered, batch)) > BATCH:
                yield joined(gathered)
                gathered.clear()
            gathered.append(batch)
            if len(parts) == 1:  # nobody to wait for
                yield joined(gathered)
                gathered.clear()
    if gathered:
        yield joined(gathered)


class _Lines:
    """Two lines to the server: while it works on what came over one, the next batch is computed and encoded for the other."""

    def __init__(self, database: Database, table: Table) -> None:
        self._lines = SimpleQueue[Line | ParquetLine]()
        self._open = ExitStack()
        folder = (
            self._open.enter_context(own_folder(database.import_folder))
            if database.import_folder
            else None
        )
        for _ in range(_LINES):
            self._lines.put(
                ParquetLine(database, table, folder)
                if folder
                else self._open.enter_context(Line(database, table))
            )
        self._workers = self._open.enter_context(ThreadPoolExecutor(_LINES))
        self._under_way = deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            while self._under_way and error is None:
                self._under_way.popleft().result()

    def send(self, batch: pa.RecordBatch, load: int) -> None:
        """Send rows as soon as a line is free; what goes wrong with them is raised then or later."""
        if len(self._under_way) == _LINES:
            self._under_way.popleft().result()
        if batch.num_rows:
            self._under_way.append(self._workers.submit(self._send, batch, load))

    def _send(self, batch: pa.RecordBatch, load: int) -> None:
        line = self._lines.get()
        try:
            line.send(batch, load)
        finally:
            self._lines.put(line)


def _mark_gone(
    connection: psycopg.Connection, table: Table, which: sql.Composable, *values: str | int
) -> int:
    """Mark rows as gone in one transaction, and wait until readers see it. Returns how many."""
    rows = _count(connection, table, which, *values)
    if rows:
        keys = sql.SQL(", ").join(map(sql.Identifier, table.keys))
        connection.execute(
            sql.SQL(
                "INSERT ATOMIC INTO {0} ({1}, load, gone) SELECT {1}, load, true FROM {0} WHERE NOT gone AND "
            ).format(sql.Identifier(table.name), keys)
            + which,
            values,
        )
        wait_until_readable(connection, table)
    return rows


def _held(
    connection: psycopg.Connection, table: Table, captures: Sequence[str], load: int
) -> dict[str, tuple[int, int]]:
    """Count by capture the rows that can be read, and those of them that a load made."""
    question = sql.SQL(
        "SELECT capture, count(), sum(CASE WHEN load = {} THEN 1 ELSE 0 END) FROM {} WHERE NOT gone AND {} GROUP BY capture"
    ).format(sql.Literal(load), sql.Identifier(table.name), among(CAPTURE, captures))
    return {
        capture: (int(rows), int(of_load))
        for capture, rows, of_load in connection.execute(question, captures)
    }


def _count(
    connection: psycopg.Connection, table: Table, which: sql.Composable, *values: str | int
) -> int:
    row = connection.execute(
        sql.SQL("SELECT count() FROM {} WHERE NOT gone AND ").format(sql.Identifier(table.name))
        + which,
        values,
    ).fetchone()
    return int(row[0]) if row else 0
