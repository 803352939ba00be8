"""The one pass over the documents of a capture: typed packets on disk, and their sums by second and conversation, many times fewer.

Endpoints, names and flows come from these sums. It can listen to tshark's blocks as they come: while tshark, on another core, is the slower
one, this costs no time, and no document is read again.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.packets import typed
from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.fields import ALL_KEYS

_BLOCK = 50_000
"""Documents in a block, when they are read from their file."""

_ROW_GROUP = 50_000
"""Rows that are written at once: a file says 2.5 KB of each of its row groups, and readers hold that all the time."""

PARTS_OF_AN_END = ("address", "port", "eth")
"""What tells the ends of conversations apart: columns of a typed packet, without `_src` and `_dst`."""

KEY = (
    *(f"{end}_{part}" for end in "ab" for part in PARTS_OF_AN_END),
    "ip_proto",
    "stream_index",
    "apart",
)
"""What names a conversation: its ends, `a` the smaller one; what it speaks; without a stream, its protocol too."""


def chosen(parts: Iterable[str], condition: str, if_true: str, if_false: str, name: str) -> str:
    """Build the SQL that chooses between two ends or directions, part by part; in the patterns, `{}` is the part."""
    return ", ".join(
        f"CASE WHEN {condition} THEN {if_true.format(part)} ELSE {if_false.format(part)} END AS {name.format(part)}"
        for part in parts
    )


def _said(value: str, by: str, which: str = "max") -> str:
    return f"arg_{which}({value}, {by}) FILTER (WHERE {value} IS NOT NULL)"


# End a is the smaller of the two, so both directions meet; a packet that is turned went from b to a. Of several names of a stream the last one
# said counts: the number of its packet tells which that is. Without a stream, a name is of its packet alone, and the first of a second counts.
SUMS = f"""
WITH directed AS (
    SELECT *, CASE WHEN stream_index IS NULL THEN protocol END AS apart, CASE
        WHEN address_src IS DISTINCT FROM address_dst THEN coalesce(address_src, '') > coalesce(address_dst, '')
        WHEN port_src IS DISTINCT FROM port_dst THEN coalesce(port_src, -1) > coalesce(port_dst, -1)
        ELSE coalesce(eth_src, '') > coalesce(eth_dst, '') END AS turned
    FROM block),
met AS (
    SELECT *, {chosen(PARTS_OF_AN_END, "turned", "{}_dst", "{}_src", "a_{}")}, {chosen(PARTS_OF_AN_END, "turned", "{}_src", "{}_dst", "b_{}")}
    FROM directed)
SELECT epoch_us(ts) // 1000000 AS second, skipped, is_tcp, {", ".join(KEY)},
    count(*) FILTER (NOT turned) AS packets_ab, coalesce(sum(frame_len) FILTER (NOT turned), 0)::BIGINT AS bytes_ab,
    count(*) FILTER (turned) AS packets_ba, coalesce(sum(frame_len) FILTER (turned), 0)::BIGINT AS bytes_ba,
    min(ts) AS first_ts, max(ts) AS last_ts, min(frame_number) AS first_frame, arg_min(turned, frame_number) AS turned,
    {_said("said_sni", "frame_number")} AS sni, max(frame_number) FILTER (WHERE said_sni IS NOT NULL) AS sni_number,
    {_said("said_alpn", "frame_number")} AS alpn, max(frame_number) FILTER (WHERE said_alpn IS NOT NULL) AS alpn_number,
    {_said("said_sni", "frame_number", "min")} AS first_sni, {_said("said_alpn", "frame_number", "min")} AS first_alpn,
    {_said("dns_name", "frame_number", "min")} AS dns_name, {_said("http_host", "frame_number", "min")} AS http_host
FROM met GROUP BY ALL
"""
"""SQL of the sums of a block of packets."""

_OF_SUMS = f"""
SELECT is_tcp, stream_index, a_address AS address_src, b_address AS address_dst, a_port AS port_src, b_port AS port_dst, skipped,
    {_said("sni", "sni_number")} AS sni, max(sni_number) AS sni_number, {_said("alpn", "alpn_number")} AS alpn, max(alpn_number) AS alpn_number,
    sum(packets_ab + packets_ba)::BIGINT AS packets, sum(bytes_ab + bytes_ba)::BIGINT AS bytes,
    epoch_us(min(first_ts)) AS first_us, epoch_us(max(last_ts)) AS last_us
FROM sums GROUP BY ALL
"""

# Of a stream that has no name there is nothing to say.
_NAMES = """
SELECT is_tcp, stream_index, arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn FROM conversations
WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""


_empty: list[pa.Table] = []
"""Typed packets and sums of no documents, worked out once: to know their columns takes as long as the packets of a small capture."""


class Conversations:
    """The conversations of a capture, in a table `conversations` of a DuckDB connection; its typed packets and their sums in files.

    Attributes:
        keys: the fields of a document that it looks at.
        connection: for those who ask it questions.
    """

    keys = ALL_KEYS

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.connection = connection
        self._packets, self._sums = folder / "packets", folder / "sums"
        if not _empty:
            _empty.extend(
                self._worked_out(
                    pa.schema([(key, pa.list_(pa.string())) for key in self.keys]).empty_table()
                )
            )
        packets, sums = _empty
        self._files = [_File(self._packets, packets.schema), _File(self._sums, sums.schema)]
        connection.register("sums", sums)
        connection.execute(f"CREATE TEMP TABLE conversations AS {_OF_SUMS}")

    def add(self, block: pa.Table) -> None:
        """Take in a block of documents, with `keys` as columns of lists of text."""
        for file, table in zip(self._files, self._worked_out(block), strict=True):
            file.write(table)
        self.connection.execute(f"INSERT INTO conversations {_OF_SUMS}")

    def read(self, path: Path) -> None:
        """Take in a whole file of documents."""
        with duckdb_pool.connection(self._packets) as reading:
            for batch in documents.read(reading, path).to_arrow_reader(_BLOCK):
                self.add(pa.Table.from_batches([batch]))

    def read_sums(self, path: Path) -> None:
        """Take in the sums of typed packets that have their places already: none can be written then."""
        self.connection.register("sums", self.connection.read_parquet(str(path)))
        self.connection.execute(f"INSERT INTO conversations {_OF_SUMS}")

    def write_packets(self, packets: Path, sums: Path) -> None:
        """Give the typed packets and their sums their places, as Parquet; no more can be added then.

        Args:
            packets: for the typed packets, see `typed.typed`.
            sums: for packets and bytes each way, times and names, by `second`, KEY, and `skipped`; a block of packets has its own row for each.
        """
        for file in self._files:
            file.close()
        for path, output in (
            (self._sums, sums),
            (self._packets, packets),
        ):  # where the packets are, the sums are too
            with whole(output) as partial:
                path.rename(partial)

    def write_names(self, output: Path) -> None:
        """Write what each stream was called, as Parquet: is_tcp, stream_index, tls_sni, tls_alpn; the file appears only when whole."""
        with whole(output) as partial:
            self.connection.sql(_NAMES).write_parquet(str(partial), compression="zstd")

    def _worked_out(self, block: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Type a block and sum it up; the sums are left as the relation `sums`."""
        self.connection.register("documents", block)
        packets = self.connection.sql(typed.typed("documents")).to_arrow_table()
        self.connection.register("block", packets)
        sums = self.connection.sql(SUMS).to_arrow_table()
        self.connection.register("sums", sums)
        return packets, sums


class _File:
    """A Parquet file that is written in row groups of some size, however small the tables are."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        self._tables.append(table)
        if sum(one.num_rows for one in self._tables) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
        self._tables.clear()


@contextmanager
def conversations(beside: Path) -> Iterator[Conversations]:
    """Open empty conversations, of bounded memory.

    Args:
        beside: a file in whose folder there is room for what does not fit into memory, and for the files until they are whole.
    """
    with (
        typed.connection(beside) as opened,
        tempfile.TemporaryDirectory(
            dir=beside.parent, prefix=".packets-", ignore_cleanup_errors=True
        ) as folder,
    ):
        yield Conversations(opened, Path(folder))
    pa.default_memory_pool().release_unused()  # what comes next needs memory of its own
