"""An answer: rows that are read when they are asked for, batch by batch or as one table."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from mt_pipeline.errors import CommandError

if TYPE_CHECKING:
    import pandas as pd


class Rows:
    """Rows of an answer. Each use reads them anew, so that nothing large stays in memory.

    DuckDB, Polars and pyarrow take it as it is, batch by batch.

    Args:
        schema: of the rows.
        read: returns their batches.
    """

    def __init__(self, schema: pa.Schema, read: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.schema = schema
        self._read = read

    @classmethod
    def of(cls, table: pa.Table) -> "Rows":
        """Make an answer of a table that is in memory."""
        return cls(table.schema, lambda: iter(table.to_batches()))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in Arrow record batches; only some are in memory."""
        return self._read()

    __iter__ = batches

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        return pa.Table.from_batches(self.batches(), self.schema)

    def df(self) -> "pd.DataFrame":
        """Return all rows as a pandas frame. Numbers that may be missing are nullable integers."""
        import pandas as pd

        integers = {
            pa.int32(): pd.Int32Dtype(),
            pa.int64(): pd.Int64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
        }
        frame: pd.DataFrame = self.arrow().to_pandas(types_mapper=integers.get, self_destruct=True)
        return frame

    def pl(self) -> object:
        """Return all rows as a Polars frame.

        Raises:
            CommandError: Polars is not installed.
        """
        try:
            import polars
        except ImportError:
            raise CommandError(
                "Polars is not installed: `pip install polars`, or use .arrow() or .df()"
            ) from None
        return polars.from_arrow(self.arrow())

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as an Arrow reader, for libraries that take one."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the rows to another library."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Name the columns; the rows are not read."""
        return f"<rows of {', '.join(self.schema.names)}: .arrow(), .df(), .pl() or .batches()>"
