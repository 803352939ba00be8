"""The single pass over the documents of a capture: typed packets, and sums by conversation.

The sums have a row per second and conversation. Endpoints, stream names and flows derive from them.
The pass can consume tshark's blocks as they arrive. tshark runs on another core and is slower, so
that takes no extra time, and no document is read again.
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

_BLOCK = 50_000
"""Documents per block when they are read from a file."""

_ROW_GROUP = 50_000
"""Rows per row group: a reader keeps 2.5 KB of metadata in memory for each group of a file."""

PARTS_OF_AN_END = ("address", "port", "eth")
"""Columns of a typed packet that identify an end, without `_src` and `_dst`."""

KEY = (
    *(f"{end}_{part}" for end in "ab" for part in PARTS_OF_AN_END),
    "ip_proto",
    "stream_index",
    "apart",
)
"""Columns that identify a conversation.

They are its ends, of which `a` is the smaller one, its IP protocol and its stream. `apart` is the
protocol of packets without a stream.
"""


def chosen(parts: Iterable[str], condition: str, if_true: str, if_false: str, name: str) -> str:
    """Build the SQL that chooses between two ends or directions, part by part.

    Args:
        parts: such as PARTS_OF_AN_END; each replaces `{}` in the patterns.
        condition: SQL of a truth value.
        if_true: pattern of the column to take if the condition is true.
        if_false: pattern of the column to take otherwise.
        name: pattern of the name of the result.
    """
    columns = []
    for part in parts:
        values = f"THEN {if_true.format(part)} ELSE {if_false.format(part)}"
        columns.append(f"CASE WHEN {condition} {values} END AS {name.format(part)}")
    return ", ".join(columns)


def _latest(value: str, order: str = "frame_number") -> str:
    return f"arg_max({value}, {order}) FILTER (WHERE {value} IS NOT NULL)"


def _earliest(value: str) -> str:
    return f"arg_min({value}, frame_number) FILTER (WHERE {value} IS NOT NULL)"


def _last_number(value: str) -> str:
    return f"max(frame_number) FILTER (WHERE {value} IS NOT NULL)"


def _is_greater(part: str, missing: str) -> str:
    source, destination = f"{part}_src", f"{part}_dst"
    return f"coalesce({source}, {missing}) > coalesce({destination}, {missing})"


def _differs(part: str) -> str:
    return f"{part}_src IS DISTINCT FROM {part}_dst"


def _bytes(condition: str) -> str:
    return f"coalesce(sum(frame_len) FILTER ({condition}), 0)::BIGINT"


_END_A = chosen(PARTS_OF_AN_END, "turned", "{}_dst", "{}_src", "a_{}")
_END_B = chosen(PARTS_OF_AN_END, "turned", "{}_src", "{}_dst", "b_{}")
_TIMES = "min(ts) AS first_ts, max(ts) AS last_ts"
_FIRST = "min(frame_number) AS first_frame, arg_min(turned, frame_number) AS turned"

# End a is the smaller one, so both directions share a key; a turned packet went from b to a.
# A stream may carry several names: the last one counts, so its packet number is kept. Without a
# stream, a name belongs to its packet alone, and the first of a second counts.
# The version of the files is a hash of this text: any change of it makes users recompute them.
SUMS = f"""
WITH directed AS (
    SELECT *, CASE WHEN stream_index IS NULL THEN protocol END AS apart, CASE
        WHEN {_differs("address")} THEN {_is_greater("address", "''")}
        WHEN {_differs("port")} THEN {_is_greater("port", "-1")}
        ELSE {_is_greater("eth", "''")} END AS turned
    FROM block),
met AS (
    SELECT *, {_END_A}, {_END_B}
    FROM directed)
SELECT epoch_us(ts) // 1000000 AS second, skipped, is_tcp, {", ".join(KEY)},
    count(*) FILTER (NOT turned) AS packets_ab, {_bytes("NOT turned")} AS bytes_ab,
    count(*) FILTER (turned) AS packets_ba, {_bytes("turned")} AS bytes_ba,
    {_TIMES}, {_FIRST},
    {_latest("said_sni")} AS sni, {_last_number("said_sni")} AS sni_number,
    {_latest("said_alpn")} AS alpn, {_last_number("said_alpn")} AS alpn_number,
    {_earliest("said_sni")} AS first_sni, {_earliest("said_alpn")} AS first_alpn,
    {_earliest("dns_name")} AS dns_name, {_earliest("http_host")} AS http_host
FROM met GROUP BY ALL
"""
"""SQL of the sums of a block of packets."""

_CONVERSATIONS = f"""
SELECT is_tcp, stream_index, a_address AS address_src, b_address AS address_dst,
    a_port AS port_src, b_port AS port_dst, skipped,
    {_latest("sni", "sni_number")} AS sni, max(sni_number) AS sni_number,
    {_latest("alpn", "alpn_number")} AS alpn, max(alpn_number) AS alpn_number,
    sum(packets_ab + packets_ba)::BIGINT AS packets, sum(bytes_ab + bytes_ba)::BIGINT AS bytes,
    epoch_us(min(first_ts)) AS first_us, epoch_us(max(last_ts)) AS last_us
FROM sums GROUP BY ALL
"""

_NAMES = """
SELECT is_tcp, stream_index,
    arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn
FROM conversations
WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""

_empty: list[pa.Table] = []
"""Typed packets and sums of no documents.

They are computed once, as that takes as long as the packets of a small capture.
"""


class Conversations:
    """The conversations of a capture: the table `conversations` of a DuckDB connection.

    The typed packets and their sums are in files.

    Attributes:
        keys: the fields of a document that are read.
        connection: for queries of the table.
    """

    keys = documents.ALL_KEYS

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.connection = connection
        self._packets_path, self._sums_path = folder / "packets", folder / "sums"
        if not _empty:
            no_documents = pa.schema([(key, pa.list_(pa.string())) for key in self.keys])
            _empty.extend(self._type_and_sum(no_documents.empty_table()))
        packets, sums = _empty
        self._files = [
            _RowGroupWriter(self._packets_path, packets.schema),
            _RowGroupWriter(self._sums_path, sums.schema),
        ]
        connection.register("sums", sums)
        connection.execute(f"CREATE TEMP TABLE conversations AS {_CONVERSATIONS}")

    def add(self, block: pa.Table) -> None:
        """Add a block of documents, with `keys` as columns of lists of text."""
        for file, table in zip(self._files, self._type_and_sum(block), strict=True):
            file.write(table)
        self.connection.execute(f"INSERT INTO conversations {_CONVERSATIONS}")

    def read(self, path: Path) -> None:
        """Add all documents of a file."""
        with duckdb_pool.connection(self._packets_path) as reading:
            for batch in documents.read(reading, path).to_arrow_reader(_BLOCK):
                self.add(pa.Table.from_batches([batch]))

    def read_sums(self, path: Path) -> None:
        """Add sums that were written before; `write_packets` cannot be called then."""
        self.connection.register("sums", self.connection.read_parquet(str(path)))
        self.connection.execute(f"INSERT INTO conversations {_CONVERSATIONS}")

    def write_packets(self, packets: Path, sums: Path) -> None:
        """Move the typed packets and their sums into place, as Parquet; nothing can be added then.

        Args:
            packets: where the typed packets go; see `typed.typed`.
            sums: where the sums go: packets and bytes each way, times and names, by `second`, KEY
                and `skipped`. Each block of packets has rows of its own.
        """
        for file in self._files:
            file.close()
        # The sums first: wherever the packets exist, the sums exist too.
        for path, output in ((self._sums_path, sums), (self._packets_path, packets)):
            with whole(output) as partial:
                path.rename(partial)

    def write_names(self, output: Path) -> None:
        """Write the names of the streams that have one.

        Args:
            output: Parquet with is_tcp, stream_index, tls_sni and tls_alpn; it appears when it is
                complete.
        """
        with whole(output) as partial:
            self.connection.sql(_NAMES).write_parquet(str(partial), compression="zstd")

    def _type_and_sum(self, block: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the typed packets and the sums of a block, which become the relation `sums`."""
        self.connection.register("documents", block)
        packets = self.connection.sql(typed.typed("documents")).to_arrow_table()
        self.connection.register("block", packets)
        sums = self.connection.sql(SUMS).to_arrow_table()
        self.connection.register("sums", sums)
        return packets, sums


class _RowGroupWriter:
    """Writes a Parquet file in row groups of one size, however small the tables are."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        self._tables.append(table)
        if sum(table.num_rows for table in self._tables) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
        self._tables.clear()


@contextmanager
def conversations(output: Path) -> Iterator[Conversations]:
    """Yield empty conversations that use bounded memory.

    Args:
        output: a file. Its folder takes what does not fit into memory, and incomplete files.
    """
    with (
        typed.connection(output) as opened,
        tempfile.TemporaryDirectory(
            dir=output.parent, prefix=".packets-", ignore_cleanup_errors=True
        ) as folder,
    ):
        yield Conversations(opened, Path(folder))
    pa.default_memory_pool().release_unused()  # the next stage needs the memory
