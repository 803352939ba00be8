"""What DNS answered: which name led which client to which address, and when.

A name counts as it was asked for: the names of a chain of CNAMEs are those of others. Answers
without a question, as multicast DNS sends them, are left out: they may be about several hosts.
`rows/remote_names.py` names the ends of conversations with these.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.packets import typed
from mt_pipeline.packets.names import host_name
from mt_pipeline.system.atomic import whole

_TABLE = """
CREATE TEMP TABLE lookups (
    time_us BIGINT, frame_number INTEGER, client VARCHAR, name VARCHAR, address VARCHAR)
"""

LOOKUPS = f"""
INSERT INTO lookups
SELECT time_us, whole_number(frame_number[1]), address_dst, {host_name("dns_qry_name[1]")} AS name,
    unnest(dns_a) AS address
FROM ({typed.packets("dns_documents")})
WHERE skipped IS NULL AND NOT quotes AND name IS NOT NULL AND address_dst IS NOT NULL
"""
"""SQL of the lookups in the documents of DNS answers."""

_WAITING = 5_000
"""Documents that are collected, as the statement costs as much as thousands of them."""


class Lookups:
    """The answers of DNS in a capture: the table `lookups` of a DuckDB connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._waiting: list[pa.Table] = []
        connection.execute(_TABLE)

    def add(self, documents: pa.Table) -> None:
        """Add the answers in a block of documents, with a list of text per field."""
        self._waiting.append(documents.filter(pc.is_valid(documents["dns_a"])))
        if sum(table.num_rows for table in self._waiting) >= _WAITING:
            self._insert()

    def write(self, output: Path) -> None:
        """Write all answers in the order of time.

        Args:
            output: Parquet with time_us (microseconds since 1970), frame_number, client, name and
                address; it appears when it is complete.
        """
        self._insert()
        with whole(output) as partial:
            ordered = self._connection.sql("FROM lookups ORDER BY time_us, frame_number")
            ordered.write_parquet(str(partial), compression="zstd")

    def _insert(self) -> None:
        documents = pa.concat_tables(self._waiting) if self._waiting else None
        self._waiting.clear()
        if documents is not None and documents.num_rows:
            self._connection.register("dns_documents", documents)
            self._connection.execute(LOOKUPS)
            self._connection.unregister("dns_documents")
