"""Answers questions from QuestDB: few rows and sums by PostgreSQL's protocol, many as Parquet.

Every value is bound. HTTP binds none, so what goes there has no value of a question but its times,
which are numbers; DuckDB then applies the condition (`questdb_bulk.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from psycopg import Connection, Cursor, sql
from psycopg.rows import TupleRow

from mt_pipeline.api import questdb_bulk
from mt_pipeline.api.columns import TIME, schema_of
from mt_pipeline.api.ordering import in_order
from mt_pipeline.api.question import SUMS, Question, Sum, merged
from mt_pipeline.api.ranking import Ranking
from mt_pipeline.api.values import Typed
from mt_pipeline.api.where_sql import QUESTDB, condition
from mt_pipeline.backends.questdb import views
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.schema.tables import Table

FEW = 20_000
"""Rows that come by PostgreSQL's protocol in about as much time as a file of many takes."""

_BATCH_ROWS = 10_000
_PACKAGE_ROWS = 1_000
"""Rows that the server sends at once; by ones it takes far longer."""
_BY_TIME = sql.SQL(" ORDER BY ts")


@dataclass(frozen=True)
class QuestDbSource:
    """The tables and views of a QuestDB.

    Attributes:
        reading: as a user who may only read.
        http: as the user of its HTTP, which takes statements that read; None if nobody may.
        temporary: a folder for what is read.
    """

    reading: Database
    http: Database | None
    temporary: Path

    @property
    def name(self) -> str:
        """Return its name."""
        return "QuestDB"

    def rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield the rows; QuestDB stores them in the order of time."""
        for batch in in_order(self._rows(question), question.order):
            yield batch.select(question.columns)

    def first(self, question: Question, by: str, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the first rows in the order of a column."""
        order = sql.SQL(" ORDER BY {} LIMIT {}").format(sql.Identifier(by), sql.Literal(count))
        with self.reading.connect() as connection:
            for batch in _stream(connection, question, order):
                yield batch.select(question.columns)

    def distinct(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield rows that differ, each once."""
        with self.reading.connect() as connection:
            yield from _streamed(
                connection, question, question.columns, sql.SQL("DISTINCT "), sql.SQL("")
            )

    def sums(self, question: Question, by: str) -> Mapping[str | int | None, Sum]:
        """Sum up by the values of a column."""
        column: sql.Composable = sql.Identifier(by)
        if question.table.columns[by] == "IPV4":
            column = sql.SQL("{}::string").format(column)
        packets, length = SUMS[question.table.name]
        what = sql.SQL("{}, {}, {}").format(column, sql.SQL(packets), sql.SQL(length))
        with self.reading.connect() as connection:
            rows = _select(connection, question, what).fetchall()
        return merged(question, by, rows)

    def top(self, question: Question, ranking: Ranking) -> pa.Table:
        """Sum up by the values of some columns; what is not known is sorted first."""
        columns = sql.SQL(", ").join(map(sql.Identifier, ranking.by))
        sums = sql.SQL(ranking.aggregates("count_distinct({})"))
        end = sql.SQL(f" ORDER BY {ranking.order} LIMIT {ranking.most}")
        with self.reading.connect() as connection:
            query, values = _query(connection, question, sql.SQL("{}, {}").format(columns, sums))
            rows = connection.execute(query + end, values).fetchall()
        return ranking.table(rows)

    def counts(self, question: Question) -> Mapping[str, int]:
        """Count by capture."""
        with self.reading.connect() as connection:
            return dict(_select(connection, question, sql.SQL("capture, count()")).fetchall())

    def _rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        with self.reading.connect() as connection:
            what = sql.SQL("count(), min(ts), max(ts)")
            count, first, last = _select(connection, question, what).fetchone() or (0, None, None)
            if not count:
                return
            bulk = None
            if self.http and count > FEW:
                bulk = questdb_bulk.plan(connection, question, (first, last), rows=count)
            if self.http is None or bulk is None:
                yield from _stream(connection, question)
                return
            with TemporaryDirectory(dir=self.temporary, prefix=".answer-") as folder:
                for since, file in questdb_bulk.files(self.http, bulk, connection, Path(folder)):
                    if file is None:
                        yield from _stream(connection, replace(question, since=since))
                    else:
                        yield from questdb_bulk.batches(question, file, folder=self.temporary)


def _stream(
    connection: Connection, question: Question, order: sql.Composable = _BY_TIME
) -> Iterator[pa.RecordBatch]:
    yield from _streamed(connection, question, question.read, sql.SQL(""), order)


def _streamed(
    connection: Connection,
    question: Question,
    names: Sequence[str],
    how: sql.Composable,
    end: sql.Composable,
) -> Iterator[pa.RecordBatch]:
    schema = schema_of(question.table, names)
    listed = sql.SQL(", ").join(_as_sent(question.table, field) for field in schema)
    query, values = _query(connection, question, sql.SQL("{}{}").format(how, listed))
    with connection.cursor(binary=True) as cursor:  # half of the work of text, at both ends
        rows = cursor.stream(query + end, values, size=_PACKAGE_ROWS)
        while some := list(islice(rows, _BATCH_ROWS)):
            columns = [
                _array(column, field.type)
                for field, column in zip(schema, zip(*some, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_sent(table: Table, field: pa.Field) -> sql.Composable:
    """Return a column as it is sent: a time as a number, which takes a third of the work.

    An address is sent as text: psycopg cannot read QuestDB's binary form of it.
    """
    name = sql.Identifier(field.name)
    if field.type == TIME:
        return sql.SQL("cast({} AS LONG)").format(name)
    return sql.SQL("{}::string").format(name) if table.columns[field.name] == "IPV4" else name


def _array(column: Sequence[object], kind: pa.DataType) -> pa.Array:
    return pa.array(column, pa.int64()).cast(kind) if kind == TIME else pa.array(column, kind)


def _select(connection: Connection, question: Question, what: sql.Composable) -> Cursor[TupleRow]:
    query, values = _query(connection, question, what)
    return connection.execute(query, values)


def _query(
    connection: Connection, question: Question, what: sql.Composable
) -> tuple[sql.Composed, list[Typed]]:
    table, experiment = question.table, question.experiment
    chosen = condition(question.where, table, QUESTDB, since=question.since, until=question.until)
    values = list(chosen.values)
    if views.has_view(connection, experiment, table):
        source = sql.SQL("{} WHERE ").format(sql.Identifier(table.view(experiment)))
    else:  # the server can bear no more views
        source = sql.SQL("{} WHERE experiment = %s AND NOT gone AND ").format(
            sql.Identifier(table.name)
        )
        values.insert(0, experiment)
    return sql.SQL("SELECT {} FROM {}{}").format(what, source, chosen.sql), values
