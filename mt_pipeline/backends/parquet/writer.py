"""Streams the rows of one capture into a file per UTC date. `dataset.py` decides where they belong.

A capture may span any number of dates in any order, so only some files are open at once. A date
that returns later gets another part. In the end the parts of a date become one file.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.backends.loads import Scattered
from mt_pipeline.schema.tables import Table

PARTITIONED_BY = ("experiment", "date")
"""Columns that the names of the folders have, and no file."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "INT": pa.int32(),
    "LONG": pa.int64(),
    "DOUBLE": pa.float64(),
}
_NULLS = {"IPV4": ["", "0.0.0.0"]}  # noqa: S104
"""Texts that mean NULL, like in QuestDB."""


@dataclass(frozen=True)
class Limits:
    """What the writer of a capture may have open or create.

    Attributes:
        open_files: files that are open at once.
        dates: dates of the capture. The default is eleven years, each date with a file of packets
            and one of flows.
        parts: parts of its dates. Packets that jump from date to date make many.
    """

    open_files: int = 16
    dates: int = 4_000
    parts: int = 12_000


DEFAULT_LIMITS = Limits()


def schema_of(table: Table) -> pa.Schema:
    """Return the schema of the files of a table."""
    return pa.schema(
        [
            (name, _TYPES.get(kind, _TEXT))
            for name, kind in table.columns.items()
            if name not in PARTITIONED_BY
        ]
    )


class DateWriter:
    """Writes a file `<date>.parquet` for each date; all are complete when the block ends well."""

    def __init__(
        self, table: Table, folder: Path, *, capture: str, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """Begin without files.

        Args:
            table: whose columns the rows have.
            folder: an empty folder.
            capture: the capture key, for messages.
            limits: what the writer may have open or create.
        """
        self._capture = capture
        self._limits = limits
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
            rows = batch.filter(pc.equal(dates, date))
            self._writer_of(date.as_py().isoformat()).write_batch(self._as_stored(rows))

    def _writer_of(self, date: str) -> pa.parquet.ParquetWriter:
        if date not in self._open:
            if len(self._open) == self._limits.open_files:
                self._open.popitem(last=False)[1].close()
            part = self._folder / f"{date}.{len(self._parts[date])}.part"
            self._parts[date].append(part)
            self._count += 1
            self._check()
            self._open[date] = self._open_writer(part)
        self._open.move_to_end(date)
        return self._open[date]

    def _check(self) -> None:
        dates, parts = self._limits.dates, self._limits.parts
        if len(self._parts) > dates:
            raise Scattered(
                f"{self._capture}: its packets lie on more than {dates:,} dates, "
                f"{min(self._parts)} to {max(self._parts)}, and each is a Parquet file; "
                "if its times are wrong, move them with `editcap -t`; "
                "else cut it with `editcap -A START -B STOP`"
            )
        if self._count > parts:
            raise Scattered(
                f"{self._capture}: its packets jump between {len(self._parts):,} dates more than "
                f"{parts:,} times, and each date is a Parquet file; "
                "put them in order with `reordercap`"
            )

    def _open_writer(self, path: Path) -> pa.parquet.ParquetWriter:
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
        with self._open_writer(path) as writer:
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
        # DuckDB's times have no zone, but they are UTC, too.
        naive = values.cast(pa.timestamp("us")) if kind == "TIMESTAMP" else values
        return naive.cast(arrow)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    is_null = pc.is_in(encoded.dictionary, pa.array(_NULLS.get(kind, [""])))
    if pc.any(is_null).as_py():
        texts = pc.if_else(is_null.take(encoded.indices), None, encoded.cast(pa.string()))
        encoded = texts.dictionary_encode()
    return encoded.cast(arrow)
