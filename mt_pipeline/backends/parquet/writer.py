"""Writes the rows of one capture as a file per UTC date, streaming. Where the files belong is `dataset.py`.

A capture may span any number of dates in any order, so only some files are open at once: a date that comes back gets another part, and the parts of a
date become one file in the end.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.backends.loads import Scattered
from mt_pipeline.schema.tables import Table

MOST_OPEN = 16
"""Files that are written at once."""

MOST_DATES = 4_000
"""Dates of one capture, eleven years: each is a file of packets and one of flows."""

MOST_PARTS = 3 * MOST_DATES
"""Parts that its dates may come in: packets that jump from date to date make many."""

PARTITIONED_BY = ("experiment", "date")
"""What the folders say; no file has these columns."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "INT": pa.int32(),
    "LONG": pa.int64(),
    "DOUBLE": pa.float64(),
}
_NOTHING = {"IPV4": ["", "0.0.0.0"]}  # noqa: S104
"""Texts that are NULL, as they are in QuestDB."""


def schema_of(table: Table) -> pa.Schema:
    """Say the columns of the files of a table."""
    return pa.schema(
        [
            (name, _TYPES.get(kind, _TEXT))
            for name, kind in table.columns.items()
            if name not in PARTITIONED_BY
        ]
    )


class Dated:
    """A file for each date of the rows that are written, `<date>.parquet`; all are whole and on disk when the block ends well."""

    def __init__(self, table: Table, folder: Path, *, capture: str) -> None:
        """Begin without files.

        Args:
            table: whose columns the rows have.
            folder: an empty one.
            capture: the capture key, for messages.
        """
        self._capture = capture
        self._types: Mapping[str, str] = table.columns
        self._schema = schema_of(table)
        self._folder = folder
        self._open = OrderedDict[str, pa.parquet.ParquetWriter]()
        self._parts = defaultdict[str, list[Path]](list)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()
        if error is None:
            for date, parts in self._parts.items():
                self._join(date, parts)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows, each to the file of its date.

        Raises:
            Scattered: there are too many dates.
            OSError: for example on a full disk.
        """
        dates = batch["ts"].cast(pa.date32())
        for date in pc.unique(dates):
            of_date = batch.filter(pc.equal(dates, date))
            self._of(date.as_py().isoformat()).write_batch(self._as_stored(of_date))

    def _of(self, date: str) -> pa.parquet.ParquetWriter:
        if date not in self._open:
            if len(self._open) == MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            part = self._folder / f"{date}.{len(self._parts[date])}.part"
            self._parts[date].append(part)
            self._count += 1
            self._check()
            self._open[date] = self._writer(part)
        self._open.move_to_end(date)
        return self._open[date]

    def _check(self) -> None:
        if len(self._parts) > MOST_DATES:
            raise Scattered(
                f"{self._capture}: its packets lie on more than {MOST_DATES:,} dates, {min(self._parts)} to {max(self._parts)}, and each is a "
                "Parquet file; if its times are wrong, move them with `editcap -t`; else cut it with `editcap -A START -B STOP`"
            )
        if self._count > MOST_PARTS:
            raise Scattered(
                f"{self._capture}: its packets jump between {len(self._parts):,} dates more than {MOST_PARTS:,} times, and each date is a "
                "Parquet file; put them in order with `reordercap`"
            )

    def _writer(self, path: Path) -> pa.parquet.ParquetWriter:
        return pa.parquet.ParquetWriter(path, self._schema, compression="zstd")

    def _as_stored(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            _as_stored(batch[field.name], field.type, self._types[field.name])
            for field in self._schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _join(self, date: str, parts: list[Path]) -> None:
        path = self._folder / f"{date}.parquet"
        if len(parts) == 1:
            parts[0].rename(path)
            return
        with self._writer(path) as writer:
            for part in parts:
                with pa.parquet.ParquetFile(part) as file:
                    for batch in _batches(file):
                        writer.write_batch(batch)
                part.unlink()


def _batches(file: pa.parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    return (
        batch
        for group in range(file.num_row_groups)
        for batch in file.read_row_group(group).combine_chunks().to_batches()
    )


def _as_stored(values: pa.Array, arrow: pa.DataType, kind: str) -> pa.Array:
    if not pa.types.is_dictionary(arrow):
        # Both rooms count microseconds since 1970 in UTC, DuckDB without saying so.
        return (
            values.cast(pa.timestamp("us")).cast(arrow)
            if kind == "TIMESTAMP"
            else values.cast(arrow)
        )
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    nothing = pc.is_in(encoded.dictionary, pa.array(_NOTHING.get(kind, [""])))
    if pc.any(nothing).as_py():
        encoded = pc.if_else(
            nothing.take(encoded.indices), None, encoded.cast(pa.string())
        ).dictionary_encode()
    return encoded.cast(arrow)
