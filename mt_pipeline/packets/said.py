"""What few packets say, collected while all of them pass: the table of a DuckDB connection.

What that is say `lookups.py`, `certificates.py` and `announcements.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.packets import typed
from mt_pipeline.system.atomic import whole

_WAITING = 5_000
"""Documents that are collected, as each statement costs as much as thousands of them."""


@dataclass(frozen=True)
class Statements:
    """SQL of one kind of statement.

    Attributes:
        table: its name.
        columns: the names and types of its columns; `file` is the first.
        said: selects these columns from `packets`, typed documents of packets that have one of
            `fields` and are stored; packets that quote others are left out.
        counts: SQL of what counts of the table, by `file`.
        order: columns, its order within a file.
        fields: keys of documents; a packet without any of them says nothing.
    """

    table: str
    columns: str
    said: str
    counts: str
    order: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class SaidFiles:
    """The files of what the packets of a capture say, all of them Parquet.

    Attributes:
        lookups: what DNS answered.
        certificates: the names in certificates.
        announcements: what devices say of themselves.
    """

    lookups: Path
    certificates: Path
    announcements: Path


class Collected:
    """All statements of one kind in a capture.

    Args:
        connection: a `typed.connection`.
        statements: the kind.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, statements: Statements) -> None:
        self._connection, self._statements = connection, statements
        self._waiting: list[pa.Table] = []
        connection.execute(f"CREATE TEMP TABLE {statements.table} ({statements.columns})")

    def add(self, documents: pa.Table) -> None:
        """Add what is said in a block of documents, with a list of text per field."""
        says = pc.is_valid(documents[self._statements.fields[0]])
        for field in self._statements.fields[1:]:
            says = pc.or_(says, pc.is_valid(documents[field]))
        self._waiting.append(documents.filter(says))
        if sum(table.num_rows for table in self._waiting) >= _WAITING:
            self.flush()

    def by_file(self) -> pa.Table:
        """Return what counts of each capture, one after the other, each in order."""
        self.flush()
        said = self._statements
        query = f"FROM ({said.counts}) ORDER BY file, {said.order}"
        return self._connection.sql(query).to_arrow_table()

    def table(self) -> pa.Table:
        """Return what counts of a single capture, in order."""
        return self._in_order().to_arrow_table()

    def write(self, output: Path) -> None:
        """Write what `table` returns as Parquet; the file appears when it is complete."""
        with whole(output) as partial:
            self._in_order().write_parquet(str(partial), compression="zstd")

    def read(self, path: Path) -> None:
        """Add what `write` wrote."""
        query = f"INSERT INTO {self._statements.table} SELECT 0, * FROM read_parquet($1)"
        self._connection.execute(query, [str(path)])

    def flush(self) -> None:
        """Have all that was added in the table."""
        documents = pa.concat_tables(self._waiting) if self._waiting else None
        self._waiting.clear()
        if documents is not None and documents.num_rows:
            self._connection.register("said_documents", documents)
            self._connection.execute(
                f"""
                INSERT INTO {self._statements.table}
                WITH packets AS (
                    FROM ({typed.packets("said_documents")}) WHERE skipped IS NULL AND NOT quotes)
                FROM ({self._statements.said})
                """
            )
            self._connection.unregister("said_documents")

    def _in_order(self) -> duckdb.DuckDBPyRelation:
        self.flush()
        said = self._statements
        query = f"SELECT * EXCLUDE (file) FROM ({said.counts}) ORDER BY {said.order}"
        return self._connection.sql(query)
