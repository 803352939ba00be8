"""Decides how each column of a batch reaches QuestDB: in a Parquet file, or in the statement.

QuestDB decodes each text of each row of a file, and looks it up among the symbols of its column.
Where a batch has few texts, numbers are in the file, and the statement has the texts. The files are
written in `parquet_import.py`.
"""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from psycopg import sql

from mt_pipeline.schema.tables import Table

# The server fails on some dictionaries of columns with NULLs. So a NULL travels as empty text,
# which no column has as a value. A SYMBOL without a cast is looked up once instead of twice.
_TEXT, _IPV4 = sql.SQL("nullif({}, '')"), sql.SQL("cast({} AS IPV4)")

_ROWS_PER_TEXT = 200
"""QuestDB compiles each text of a statement, which a text of fewer rows does not save."""

_STATEMENT_BYTES = 10_000
"""The texts of one column. All columns of a statement have to fit into the server's megabyte."""

_PLAIN = re.compile(r"[^'\\\x00-\x1f\x7f]{2,}")
"""Text that may be a literal; a single character would be a CHAR. Other text, which strangers may
have chosen, is in the file."""

_QUESTDB_NULL = -(2**31)
"""What QuestDB takes for NULL in an INT, and the number of 128.0.0.0."""


@dataclass(frozen=True)
class ImportColumn:
    """A column of a batch on its way to QuestDB.

    Attributes:
        name: of the column, in the table and in the file.
        expression: SQL for its values, over the columns of the file.
        values: what the file has; None if the statement says it all.
        is_text: whether the file has text.
    """

    name: str
    expression: sql.Composable
    values: pa.Array | None
    is_text: bool = False


def import_columns(table: Table, batch: pa.RecordBatch) -> Iterator[ImportColumn]:
    """Yield the columns of a batch, without those that have no value in it.

    Args:
        table: where they go.
        batch: with the columns of the table, text as dictionaries.
    """
    for name, kind in table.columns.items():
        values = batch[name]
        if values.null_count == len(values):  # the table has NULL for a column that is left out
            continue
        if not isinstance(values, pa.DictionaryArray):
            yield ImportColumn(name, sql.Identifier(name), values)
        elif kind == "IPV4":
            yield _addresses(name, values)
        else:
            yield _stated(name, values) or _written(name, values, _TEXT)


def _written(name: str, values: pa.DictionaryArray, expression: sql.SQL) -> ImportColumn:
    """Put text into the file."""
    return ImportColumn(
        name, expression.format(sql.Identifier(name)), _without_nulls(values), is_text=True
    )


def _stated(name: str, values: pa.DictionaryArray) -> ImportColumn | None:
    """Put the texts of a column into the statement; None if that is not safe, or not worth it."""
    texts = values.dictionary.to_pylist()
    constant = len(texts) == 1 and not values.null_count
    if not constant and len(texts) * _ROWS_PER_TEXT > len(values):
        return None
    if not all(map(_PLAIN.fullmatch, texts)) or len("".join(texts).encode()) > _STATEMENT_BYTES:
        return None
    if constant:
        return ImportColumn(name, sql.SQL(f"'{texts[0]}'"), None)
    arms = " ".join(f"WHEN {number} THEN '{text}'" for number, text in enumerate(texts))
    case = sql.SQL("CASE {} {} END").format(sql.Identifier(name), sql.SQL(arms))
    return ImportColumn(name, case, values.indices.fill_null(len(texts)))  # no arm: NULL


def _addresses(name: str, values: pa.DictionaryArray) -> ImportColumn:
    """Put IPv4 addresses into the file as numbers. Zero is NULL, as 0.0.0.0 is for QuestDB."""
    numbers = [
        int.from_bytes(socket.inet_pton(socket.AF_INET, text), signed=True)
        for text in values.dictionary.to_pylist()
    ]
    if _QUESTDB_NULL in numbers:
        return _written(name, values, _IPV4)
    taken = pa.array(np.array(numbers, np.int32)).take(values.indices).fill_null(0)
    return ImportColumn(name, _IPV4.format(sql.Identifier(name)), taken)


def _without_nulls(text: pa.DictionaryArray) -> pa.DictionaryArray:
    """Replace NULL by empty text."""
    if not text.null_count:
        return text
    return pa.DictionaryArray.from_arrays(
        text.indices.fill_null(len(text.dictionary)),
        pa.concat_arrays([text.dictionary, pa.array([""])]),
    )
