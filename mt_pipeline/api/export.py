"""Writes rows to a file, batch by batch: CSV, Parquet or lines of JSON. It is whole or not there.

A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula, and runs it. So in
CSV a text that begins so, after any blanks, gets a `'` in front, and one that begins with `'`, too:
whoever takes one `'` off the front of each text has the original. Numbers stay as they are.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from mt_pipeline.api.rows import Rows
from mt_pipeline.errors import CommandError
from mt_pipeline.system.atomic import whole

METADATA = b"mt_pipeline"
"""Key of the metadata of a Parquet file: a JSON object that says what made it."""

_FORMULA = "^[\\s\0]*[=+\\-@\uff1d\uff0b\uff0d\uff20']|^[\t\r\n]"
"""Also the wide forms of these signs, and blanks at which a spreadsheet begins a new cell."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"

Progress = Callable[[int], None]


class FormatError(CommandError):
    """The name of a file does not say in which format it is to be written."""


def write(
    rows: Rows,
    output: Path,
    made: Mapping[str, object],
    *,
    replace: bool = False,
    progress: Progress = lambda _: None,
) -> int:
    """Write rows to a file in the format of its ending, and return their number.

    Args:
        rows: what to write.
        output: ends with `.csv`, `.parquet` or `.jsonl`.
        made: what made the rows, for the metadata of Parquet.
        replace: replace a file that exists.
        progress: receives how many rows are written.

    Raises:
        FormatError: the ending is another.
        FileExistsError: the file exists, and may not be replaced.
        OSError: the file cannot be written; nothing is left of it.
    """
    writer = writer_of(output)
    written = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for batch in rows.batches():
            yield batch
            written += batch.num_rows
            progress(written)

    with whole(output, new=not replace) as partial:
        writer(rows.schema, counted(), partial, made)
    return written


Writer = Callable[[pa.Schema, Iterator[pa.RecordBatch], Path, Mapping[str, object]], None]


def writer_of(output: Path) -> Writer:
    """Return what writes the format of a file.

    Raises:
        FormatError: there is none.
    """
    try:
        return _WRITERS[output.suffix.lower()]
    except KeyError:
        raise FormatError(
            f"{output}: the name must end with one of {', '.join(_WRITERS)}, which is the format"
        ) from None


def harmless(texts: pa.Array) -> pa.Array:
    """Return texts of which no spreadsheet takes any for a formula."""
    is_formula = pc.match_substring_regex(texts, _FORMULA)
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", texts, ""), texts)


def _csv(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], path: Path, _: Mapping[str, object]
) -> None:
    plain = pa.schema([(field.name, _plain(field.type)) for field in schema])
    with pyarrow.csv.CSVWriter(path, plain) as writer:
        for batch in batches:
            columns = [
                harmless(column) if pa.types.is_string(column.type) else _in_iso(column)
                for column in batch.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=plain))


def _parquet(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], path: Path, made: Mapping[str, object]
) -> None:
    described = schema.with_metadata({METADATA: json.dumps(made, ensure_ascii=False).encode()})
    with pyarrow.parquet.ParquetWriter(path, described, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.cast(described))


def _jsonl(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], path: Path, _: Mapping[str, object]
) -> None:
    plain = pa.schema([(field.name, _plain(field.type)) for field in schema])
    texts = (
        pa.RecordBatch.from_arrays([_in_iso(column) for column in batch.columns], schema=plain)
        for batch in batches
    )
    quoted = str(path).replace("'", "''")
    with duckdb.connect(config={"threads": 1}) as database:
        database.register("rows", pa.RecordBatchReader.from_batches(plain, texts))
        database.execute(
            f"COPY (SELECT * FROM rows) TO '{quoted}' "
            "(FORMAT json, COMPRESSION uncompressed, USE_TMP_FILE false)"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _in_iso(column: pa.Array) -> pa.Array:
    return pc.strftime(column, _TIME) if pa.types.is_timestamp(column.type) else column


_WRITERS: Mapping[str, Writer] = {".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl}
