"""Runs a query of DuckDB over Parquet files, and yields typed rows; both back ends use it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from mt_pipeline.api.columns import schema_of
from mt_pipeline.schema.tables import Table
from mt_pipeline.system.processes import cores

MEMORY = "1GB"
"""Of a query; more moves to disk."""

_BATCH_ROWS = 100_000
_TYPES = {"TIMESTAMP": "TIMESTAMP", "INT": "INTEGER", "LONG": "BIGINT", "DOUBLE": "DOUBLE"}


@contextmanager
def connection(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database that ends with the block.

    Args:
        folder: for what does not fit into memory.
    """
    with (
        TemporaryDirectory(dir=folder, prefix=".query-") as spill,
        duckdb.connect(
            config={"memory_limit": MEMORY, "threads": cores(), "temp_directory": spill}
        ) as database,
    ):
        yield database


def columns_of(
    database: duckdb.DuckDBPyConnection, files: Sequence[str], table: Table
) -> dict[str, str]:
    """Return an expression for each column of a table, NULL for those that no file has.

    So it is with the hidden column `gone`: without it no row is gone.
    """
    described = database.execute(
        "DESCRIBE SELECT * FROM read_parquet(?, union_by_name = true)", [list(files)]
    ).fetchall()
    present: dict[str, str] = {name: kind for name, kind, *_ in described}
    expressions = {
        name: _expression(name, kind, present.get(name)) for name, kind in table.columns.items()
    }
    return {**expressions, "gone": "gone" if "gone" in present else "false"}


def selected(columns: Mapping[str, str]) -> str:
    """Return what stands after FROM: these columns of the files that are bound next."""
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    return f"(SELECT {listed} FROM read_parquet(?, union_by_name = true))"


def listed(names: Iterable[str]) -> str:
    """Return names of columns as SQL."""
    return ", ".join(f'"{name}"' for name in names)


def batches(
    database: duckdb.DuckDBPyConnection,
    query: str,
    values: Sequence[object],
    table: Table,
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Run a query and yield its rows with the types of their columns."""
    schema = schema_of(table, names)
    for batch in database.sql(query, params=list(values)).to_arrow_reader(_BATCH_ROWS):
        yield typed(batch, schema)


def typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the types of a schema; times without a zone are UTC."""
    columns = [batch[field.name].cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _expression(name: str, kind: str, present: str | None) -> str:
    if present is None:
        return f"CAST(NULL AS {_TYPES.get(kind, 'VARCHAR')})"
    if kind == "TIMESTAMP":
        return f'make_timestamp(epoch_us("{name}"))'  # times with a zone would need ICU
    if kind == "IPV4" and present != "VARCHAR":  # as QuestDB writes it
        parts = ", ".join(f'("{name}" >> {bits}) & 255' for bits in (24, 16, 8, 0))
        return f"CASE WHEN \"{name}\" IS NOT NULL THEN concat_ws('.', {parts}) END"
    return f'"{name}"'
