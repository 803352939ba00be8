"""The single pass over the documents of a capture: typed packets, and sums by conversation.

`sums.py` has the SQL of the sums. Endpoints, stream names and flows derive from them.
The pass can consume tshark's blocks as they arrive. tshark runs on another core and is slower, so
that takes no extra time, and no document is read again.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.packets import typed
from mt_pipeline.packets.announcements import ANNOUNCEMENTS, SEEN
from mt_pipeline.packets.certificates import CERTIFICATES
from mt_pipeline.packets.lookups import LOOKUPS
from mt_pipeline.packets.numbering import FOR_NUMBERS, Numbers
from mt_pipeline.packets.said import Collected, SaidFiles
from mt_pipeline.packets.sums import SUMS, latest
from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.fields import ALL_KEYS

_BLOCK = 50_000
"""Documents per block when they are read from a file."""

_ROW_GROUP = 50_000
"""Rows per row group: a reader keeps 2.5 KB of metadata in memory for each group of a file."""

_CONVERSATIONS = f"""
SELECT is_tcp, stream_index, a_address AS address_src, b_address AS address_dst,
    a_port AS port_src, b_port AS port_dst, skipped,
    {latest("sni", "sni_number")} AS sni, max(sni_number) AS sni_number,
    {latest("alpn", "alpn_number")} AS alpn, max(alpn_number) AS alpn_number,
    sum(packets_ab + packets_ba)::BIGINT AS packets, sum(bytes_ab + bytes_ba)::BIGINT AS bytes,
    epoch_us(min(first_ts)) AS first_us, epoch_us(max(last_ts)) AS last_us,
    arg_min(http_host, first_frame) FILTER (http_host IS NOT NULL) AS http_host
FROM sums GROUP BY ALL
"""

_NAMES = """
SELECT is_tcp, stream_index,
    arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn
FROM conversations
WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""

Follower = Callable[[pa.Table, pa.Table, Callable[[], pa.Table]], None]
"""Receives the typed packets and the sums of each block, right after they are made.

The third argument returns the announcements of all packets so far; see `announcements.py`.
"""

_empty: list[pa.Table] = []
"""Typed packets and sums of no documents.

They are computed once, as that takes as long as the packets of a small capture.
"""


class Conversations:
    """The conversations of a capture: the tables `conversations` and `lookups` of a connection.

    The typed packets and their sums are in files.

    Attributes:
        keys: the fields of a document that are read.
        connection: for queries of the tables, after `flush`.
    """

    keys = ALL_KEYS

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        follower: Follower | None = None,
    ) -> None:
        self.connection = connection
        self._follower = follower
        self._packets_path, self._sums_path = folder / "packets", folder / "sums"
        self._numbers = Numbers()
        if not _empty:
            fields = pa.schema([(key, pa.list_(pa.string())) for key in self.keys])
            none = typed.with_layers(fields.empty_table())
            _empty[:] = self._type_and_sum(none)  # threads may do so at once
        self._lookups = Collected(connection, LOOKUPS)
        self._certificates = Collected(connection, CERTIFICATES)
        self._announcements = Collected(connection, ANNOUNCEMENTS)
        packets, sums = _empty
        self._files = [
            _RowGroupWriter(self._packets_path, packets.schema),
            _RowGroupWriter(self._sums_path, sums.schema),
        ]
        connection.register("sums", sums)
        connection.execute(f"CREATE TEMP TABLE conversations AS {_CONVERSATIONS}")

    def add(self, block: pa.Table) -> None:
        """Add a block of documents, with `keys` as columns of lists of text."""
        block = typed.with_layers(block)
        packets, sums = self._type_and_sum(block)
        for file, table in zip(self._files, (packets, sums), strict=True):
            file.write(table)
        self.connection.execute(f"INSERT INTO conversations {_CONVERSATIONS}")
        self.connection.execute(SEEN)
        for collected in (self._lookups, self._certificates, self._announcements):
            collected.add(block)
        if self._follower:
            self._follower(packets, sums, self._announcements.table)

    def read(self, path: Path, *, block: int = _BLOCK) -> None:
        """Add all documents of a file, a block of so many at a time."""
        with duckdb_pool.connection(self._packets_path) as reading:
            for batch in documents.read(reading, path).to_arrow_reader(block):
                self.add(pa.Table.from_batches([batch]))

    def read_sums(self, sums: Path, answered: Path) -> None:
        """Add what `write_packets` wrote before, which cannot be called then."""
        self.connection.register("sums", self.connection.read_parquet(str(sums)))
        self.connection.execute(f"INSERT INTO conversations {_CONVERSATIONS}")
        self.read_lookups(answered)

    def read_lookups(self, answered: Path) -> None:
        """Add answers of DNS of another file."""
        self._lookups.read(answered)

    def flush(self) -> None:
        """Have all that was added in the tables of the connection."""
        self._lookups.flush()

    def write_packets(self, packets: Path, sums: Path, said: SaidFiles) -> None:
        """Move the typed packets and their sums into place, as Parquet; nothing can be added then.

        Args:
            packets: where the typed packets go; see `typed.typed`.
            sums: where the sums go: packets and bytes each way, times and names, by `second`,
                `sums.KEY` and `skipped`. Each block of packets has rows of its own.
            said: where the statements of packets go.
        """
        self._lookups.write(said.lookups)
        self._certificates.write(said.certificates)
        self._announcements.write(said.announcements)
        for file in self._files:
            file.close()
        # The packets last: wherever they exist, the others exist too.
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
        packets = typed.typed(self.connection, block)
        self.connection.register("block", packets)
        sums = self.connection.sql(SUMS).to_arrow_table()
        packets = self._numbers.add_to(packets, sums)
        sums = sums.drop_columns(list(FOR_NUMBERS))
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
def conversations(output: Path, follower: Follower | None = None) -> Iterator[Conversations]:
    """Yield empty conversations that use bounded memory.

    Args:
        output: a file. Its folder takes incomplete files; what does not fit into memory is near.
        follower: see Follower.
    """
    with (
        typed.connection(output) as opened,
        tempfile.TemporaryDirectory(
            dir=output.parent, prefix=".packets-", ignore_cleanup_errors=True
        ) as folder,
    ):
        yield Conversations(opened, Path(folder), follower)
    pa.default_memory_pool().release_unused()  # the next stage needs the memory
