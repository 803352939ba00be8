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
        columns: the names and types of its columns.
        said: selects these columns from `packets`, typed documents of packets that have one of
            `fields` and are stored; packets that quote others are left out.
        all: selects from the table what counts, in order.
        fields: keys of documents; a packet without any of them says nothing.
    """

    table: str
    columns: str
    said: str
    all: str
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

    def table(self) -> pa.Table:
        """Return what counts, in order."""
        self.flush()
        return self._connection.sql(self._statements.all).to_arrow_table()

    def write(self, output: Path) -> None:
        """Write what counts, in order, as Parquet; the file appears when it is complete."""
        self.flush()
        with whole(output) as partial:
            counts = self._connection.sql(self._statements.all)
            counts.write_parquet(str(partial), compression="zstd")

    def read(self, path: Path) -> None:
        """Add what `write` wrote."""
        table = self._statements.table
        self._connection.execute(f"INSERT INTO {table} FROM read_parquet($1)", [str(path)])

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
