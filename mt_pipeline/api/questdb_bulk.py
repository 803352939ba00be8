"""Reads many rows of QuestDB as a Parquet file, over its HTTP.

What is asked for has names of columns, the experiment and numbers alone: HTTP binds no values.
DuckDB applies the condition of the question to the file, with bound values.

QuestDB copies whole columns ten times as fast as rows that it has to choose. So if a stretch of
the table has few rows of other experiments, all of it is read, and DuckDB chooses. It is read slice
by slice, one ahead: so both work at once, and no file is large.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import requests
from psycopg import Connection, sql

from mt_pipeline.api import duckdb_rows
from mt_pipeline.api.question import Question
from mt_pipeline.api.where import All, AnyOf, Comparison, Not, Where
from mt_pipeline.api.where_sql import DUCKDB, condition
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import view_definitions

_log = logging.getLogger(__name__)

_SECONDS = (10, 300)
"""To connect, and without a byte."""
_BLOCK_BYTES = 1 << 20
_MOST_SLICES = 1_000
SLICE_ROWS = 250_000
"""About as many rows are in a slice, if they are spread evenly over the time."""
_COPIED, _CHOSEN, _BY_ROW = 1.7, 6, 9
"""Microseconds that a row takes: of a whole stretch, of a view, by PostgreSQL's protocol."""


@dataclass(frozen=True)
class Bulk:
    """What to ask for.

    Attributes:
        query: SQL without a value of the question; `{}` stands for the times of a slice.
        slices: the first and the last time of each, naive UTC.
        view: name of the view of the experiment.
        source: its definition when this was planned, which `compact` changes.
    """

    query: str
    slices: Sequence[tuple[datetime, datetime]]
    view: str
    source: str


def plan(
    connection: Connection, question: Question, extent: tuple[datetime, datetime], *, rows: int
) -> Bulk | None:
    """Return the quickest way to read rows as a file; None if row by row is quicker.

    Args:
        connection: to count with.
        question: what is asked.
        extent: the first and the last time of the rows.
        rows: their number.
    """
    table, view = question.table, question.table.view(question.experiment)
    between = _between(extent)
    names = _read(question)
    defined = view_definitions(connection).get(view, "")
    ways = [(float(rows * _BY_ROW), "")]
    if defined:
        listed = duckdb_rows.listed(names)
        query = f'SELECT {listed} FROM "{view}" WHERE {{}} ORDER BY ts'
        ways.append((_count(connection, view, between) * _CHOSEN, query))
    if f' FROM "{table.name}" WHERE ' in defined and "UNION" not in defined:
        listed = duckdb_rows.listed((*names, "gone"))
        query = f"SELECT {listed} FROM {table.name} WHERE {{}}"
        ways.append((_count(connection, table.name, between) * _COPIED, query))
    _, query = min(ways)
    return Bulk(query, _slices(extent, rows), view, defined) if query else None


def files(
    http: Database, bulk: Bulk, connection: Connection, folder: Path
) -> Iterator[tuple[datetime, Path | None]]:
    """Yield the first time of each slice and a file with its rows, which is deleted afterwards.

    The last has no file if the HTTP of the server lets us not in, or if `compact` moved rows
    meanwhile: it and all later slices must be read in another way.
    """
    paths = [folder / f"{place}.parquet" for place in range(len(bulk.slices))]
    with ThreadPoolExecutor(1) as pool:

        def download(place: int) -> Future[bool]:
            query = bulk.query.format(_between(bulk.slices[place]))
            return pool.submit(_download, http, query, paths[place])

        ahead = download(0)
        for place, (first, _) in enumerate(bulk.slices):
            is_there = ahead.result()
            if not is_there or view_definitions(connection).get(bulk.view, "") != bulk.source:
                yield first, None
                return
            if place + 1 < len(bulk.slices):
                ahead = download(place + 1)
            yield first, paths[place]
            paths[place].unlink()


def _download(http: Database, query: str, file: Path) -> bool:
    """Write an answer to a file; return whether the server gave one."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy, and no password of a .netrc
        session.auth = (http.user, http.password)
        parameters = {"query": query, "fmt": "parquet", "compression_codec": "lz4_raw"}
        try:
            with session.get(
                f"{http.console}/exp", params=parameters, stream=True, timeout=_SECONDS
            ) as response:
                response.raise_for_status()
                with file.open("wb") as output:
                    for block in response.iter_content(_BLOCK_BYTES):
                        output.write(block)
        except requests.RequestException as error:
            _log.warning("QuestDB gives no file of rows, so they come one by one: %s", error)
            return False
    return True


def batches(question: Question, file: Path, *, folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the question that a file has."""
    table, files = question.table, [str(file)]
    chosen = condition(question.where, table, DUCKDB, since=question.since, until=question.until)
    with duckdb_rows.connection(folder) as database:
        columns = duckdb_rows.columns_of(database, files, table)
        query = (
            f"SELECT {duckdb_rows.listed(question.read)} FROM {duckdb_rows.selected(columns)} "
            f"WHERE experiment = ? AND NOT gone AND {chosen.text}"
        )
        values = [files, question.experiment, *chosen.values]
        yield from duckdb_rows.batches(database, query, values, table, question.read)


def _read(question: Question) -> tuple[str, ...]:
    """Return the columns of the answer, those that sort it, and those of its condition."""
    named = () if question.where is None else _named(question.where)
    return tuple(dict.fromkeys((*question.read, "experiment", *named)))


def _named(where: Where) -> Iterator[str]:
    if isinstance(where, Comparison):
        yield where.column
    elif isinstance(where, Not):
        yield from _named(where.part)
    elif isinstance(where, All | AnyOf):
        for part in where.parts:
            yield from _named(part)


def _count(connection: Connection, name: str, between: str) -> int:
    query = sql.SQL("SELECT count() FROM {} WHERE ").format(sql.Identifier(name))
    row = connection.execute((query.as_string(connection) + between).encode()).fetchone()
    return int(row[0]) if row else 0


def _slices(extent: tuple[datetime, datetime], rows: int) -> Sequence[tuple[datetime, datetime]]:
    """Cut a stretch of time into parts that follow each other."""
    first, last = extent
    count = min(max(rows // SLICE_ROWS, 1), _MOST_SLICES)
    step = max((last - first) / count, timedelta(microseconds=1))
    bounds = [first + step * place for place in range(count)]
    firsts = [bound for bound in dict.fromkeys(bounds) if bound <= last]
    lasts = [later - timedelta(microseconds=1) for later in firsts[1:]]
    return list(zip(firsts, [*lasts, last], strict=True))


def _between(extent: tuple[datetime, datetime]) -> str:
    first, last = map(_microseconds, extent)
    return f"ts >= {first} AND ts <= {last}"


def _microseconds(time: datetime) -> int:
    return (time.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
