"""What DNS answered: which name led which client to which address, and when.

A name counts as it was asked for: the names of a chain of CNAMEs are those of others. Answers
without a question, as multicast DNS sends them, are left out: they may be about several hosts.
`rows/remote_names.py` names the ends of conversations with these.
"""

from pathlib import Path

import duckdb
import pyarrow as pa

from mt_pipeline.packets import typed
from mt_pipeline.packets.names import host_name
from mt_pipeline.system.atomic import whole

_TABLE = """
CREATE TEMP TABLE lookups (
    time_us BIGINT, frame_number INTEGER, client VARCHAR, name VARCHAR, address VARCHAR)
"""

_ANSWERS = "SELECT * FROM documents WHERE dns_a IS NOT NULL OR dns_aaaa IS NOT NULL"
LOOKUPS = f"""
INSERT INTO lookups
SELECT time_us, whole_number(frame_number[1]), address_dst, {host_name("dns_qry_name[1]")} AS name,
    unnest(list_concat(dns_a, dns_aaaa)) AS address
FROM ({typed.packets(f"({_ANSWERS})")})
WHERE skipped IS NULL AND NOT quotes AND name IS NOT NULL AND address_dst IS NOT NULL
"""
"""SQL that adds the answers in a block of documents."""


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create an empty table `lookups`."""
    connection.execute(_TABLE)


def add(connection: duckdb.DuckDBPyConnection, documents: pa.Table) -> None:
    """Add the answers in a block of documents, which is the relation `documents`."""
    if any(documents[key].null_count < documents.num_rows for key in ("dns_a", "dns_aaaa")):
        connection.execute(LOOKUPS)


def write(connection: duckdb.DuckDBPyConnection, output: Path) -> None:
    """Write all answers in the order of time.

    Args:
        connection: with the table `lookups`.
        output: Parquet with time_us (microseconds since 1970), frame_number, client, name and
            address; it appears when it is complete.
    """
    with whole(output) as partial:
        ordered = connection.sql("FROM lookups ORDER BY time_us, frame_number")
        ordered.write_parquet(str(partial), compression="zstd")
