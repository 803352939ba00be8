"""Answers questions from the Parquet data set. DuckDB reads it, date by date."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.api import duckdb_rows
from mt_pipeline.api.ordering import in_order
from mt_pipeline.api.question import SUMS, Found, Question, Sum, merged
from mt_pipeline.api.ranking import Ranking
from mt_pipeline.api.where_sql import DUCKDB, condition
from mt_pipeline.schema.tables import FLOWS


@dataclass(frozen=True)
class ParquetSource:
    """The data set of a folder.

    Attributes:
        folder: of the data set.
        temporary: a folder for what does not fit into memory.
    """

    folder: Path
    temporary: Path

    @property
    def name(self) -> str:
        """Return its name."""
        return "Parquet"

    def rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield the rows, sorted within each date: dates follow each other in time."""
        for batch in in_order(self._dates(question), question.order):
            yield batch.select(question.columns)

    def first(self, question: Question, by: str, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the first rows in the order of a column."""
        yield from self._selected(question, "", f' ORDER BY "{by}" LIMIT {count}')

    def distinct(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield rows that differ, each once."""
        yield from self._selected(question, "DISTINCT ", "")

    def sums(self, question: Question, by: str) -> Mapping[str | int | None, Sum]:
        """Sum up by the values of a column."""
        packets, length = SUMS[question.table.name]
        return merged(question, by, self._aggregate(question, f'"{by}", {packets}, {length}', by))

    def top(self, question: Question, ranking: Ranking) -> pa.Table:
        """Sum up by the values of some columns."""
        if not (files := [file for date in self._files(question) for file in date]):
            return ranking.schema.empty_table()
        columns = duckdb_rows.listed(ranking.by)
        order = ranking.order.replace(",", " NULLS FIRST,")
        with duckdb_rows.connection(self.temporary) as database:
            source, values = self._source(database, question, files)
            query = (
                f"SELECT {columns}, {ranking.aggregates('count(DISTINCT {})')} FROM {source} "
                f"GROUP BY {columns} ORDER BY {order} NULLS FIRST LIMIT {ranking.most}"
            )
            rows = database.execute(query, values).fetchall()
        return ranking.table(rows)

    def counts(self, question: Question) -> Mapping[str, int]:
        """Count by capture."""
        found = self._aggregate(question, "capture, count(*), 0", "capture")
        return {str(capture): rows or 0 for capture, rows, _ in found}

    def files_of_flows(self, experiment: str) -> set[str]:
        """Return the names of the files with flows of an experiment, one for each capture."""
        below = self.folder / FLOWS.views / f"experiment={experiment}"
        return {file.name for file in below.glob("date=*/*.parquet")}

    def _dates(self, question: Question) -> Iterator[pa.RecordBatch]:
        names = question.read
        for files in self._files(question):
            with duckdb_rows.connection(self.temporary) as database:
                source, values = self._source(database, question, files)
                # A sort moves all columns, and a single capture most often needs none.
                order = "" if _is_sorted(files) else ' ORDER BY "ts"'
                query = f"SELECT {duckdb_rows.listed(names)} FROM {source}{order}"
                yield from duckdb_rows.batches(database, query, values, question.table, names)

    def _selected(self, question: Question, what: str, end: str) -> Iterator[pa.RecordBatch]:
        files = [file for date in self._files(question) for file in date]
        if not files:
            return
        names = question.columns
        with duckdb_rows.connection(self.temporary) as database:
            source, values = self._source(database, question, files)
            query = f"SELECT {what}{duckdb_rows.listed(names)} FROM {source}{end}"
            yield from duckdb_rows.batches(database, query, values, question.table, names)

    def _aggregate(self, question: Question, what: str, by: str) -> list[Found]:
        files = [file for date in self._files(question) for file in date]
        if not files:
            return []
        with duckdb_rows.connection(self.temporary) as database:
            source, values = self._source(database, question, files)
            query = f'SELECT {what} FROM {source} GROUP BY "{by}"'
            return database.execute(query, values).fetchall()

    def _source(
        self, database: duckdb.DuckDBPyConnection, question: Question, files: Sequence[str]
    ) -> tuple[str, list[object]]:
        columns = duckdb_rows.columns_of(database, files, question.table)
        columns["experiment"] = "CAST(? AS VARCHAR)"  # the folder has it, and no file
        chosen = condition(
            question.where, question.table, DUCKDB, since=question.since, until=question.until
        )
        text = f"{duckdb_rows.selected(columns)} WHERE {chosen.text}"
        return text, [question.experiment, list(files), *chosen.values]

    def _below(self, question: Question) -> Path:
        return self.folder / question.table.views / f"experiment={question.experiment}"

    def _files(self, question: Question) -> Iterator[list[str]]:
        """Yield the files of each date that the question is about, in the order of dates."""
        for folder in sorted(self._below(question).glob("date=*")):
            try:
                first = datetime.fromisoformat(folder.name.removeprefix("date="))
            except ValueError:
                continue
            last = first + timedelta(days=1) if first.year < MAXYEAR else datetime.max
            if (question.since and last <= question.since) or (
                question.until and first >= question.until
            ):
                continue
            if files := sorted(map(str, folder.glob("[!._]*.parquet"))):
                yield files


def _is_sorted(files: Sequence[str]) -> bool:
    """Return whether the rows of a date are in the order of time as they are stored."""
    if len(files) > 1:
        return False
    times = pyarrow.parquet.read_table(files[0], columns=["ts"])["ts"].cast(pa.int64())
    numbers = times.to_numpy()
    return bool(np.all(numbers[1:] >= numbers[:-1]))
