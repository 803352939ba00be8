"""The single pass over the documents of a capture: typed packets, and sums by conversation.

The pass can consume tshark's blocks as they arrive. tshark runs on another core and is slower, so
that takes no extra time, and no document is read again. Small captures wait for each other instead:
see `together.py`.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.packets import typed
from mt_pipeline.packets.said import SaidFiles
from mt_pipeline.packets.tables import NAMES, Tables, in_file, without_file
from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark import documents

_BLOCK = 50_000
"""Documents per block when they are read from a file."""

_ROW_GROUP = 50_000
"""Rows per row group: a reader keeps 2.5 KB of metadata in memory for each group of a file."""

Follower = Callable[[pa.Table, pa.Table, Callable[[], pa.Table]], None]
"""Receives the typed packets and the sums of each block, right after they are made.

The third argument returns the announcements of all packets so far; see `announcements.py`.
"""


class Conversations:
    """The conversations of a capture: `tables.Tables` of a connection.

    The typed packets and their sums are in files.

    Attributes:
        keys: the fields of a document that are read.
        tables: the tables.
        connection: for queries of the tables, after `flush`.
    """

    keys = Tables.keys

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        follower: Follower | None = None,
    ) -> None:
        self.connection, self.tables = connection, Tables(connection)
        self._follower = follower
        self._packets_path, self._sums_path = folder / "packets", folder / "sums"
        packets, sums = map(without_file, self.tables.empty)
        self._files = [
            _RowGroupWriter(self._packets_path, packets.schema),
            _RowGroupWriter(self._sums_path, sums.schema),
        ]

    def add(self, block: pa.Table) -> None:
        """Add a block of documents, with `keys` as columns of lists of text."""
        packets, sums = map(without_file, self.tables.fill(in_file(block, 0)))
        for file, table in zip(self._files, (packets, sums), strict=True):
            file.write(table)
        if self._follower:
            self._follower(packets, sums, self.tables.announcements.table)

    def read(self, path: Path, *, block: int = _BLOCK) -> None:
        """Add all documents of a file, a block of so many at a time."""
        with duckdb_pool.connection(self._packets_path) as reading:
            for batch in documents.read(reading, path).to_arrow_reader(block):
                self.add(pa.Table.from_batches([batch]))

    def read_sums(self, sums: Path, answered: Path) -> None:
        """Add what `write_packets` wrote before, which cannot be called then."""
        stored = self.connection.read_parquet(str(sums))
        self.connection.register("sums", stored.project("0 AS file, *"))
        self.tables.add_sums()
        self.read_lookups(answered)

    def read_lookups(self, answered: Path) -> None:
        """Add answers of DNS of another file."""
        self.tables.lookups.read(answered)

    def flush(self) -> None:
        """Have all that was added in the tables of the connection."""
        self.tables.flush()

    def write_packets(self, packets: Path, sums: Path, said: SaidFiles) -> None:
        """Move the typed packets and their sums into place, as Parquet; nothing can be added then.

        Args:
            packets: where the typed packets go; see `typed.typed`.
            sums: where the sums go: packets and bytes each way, times and names, by `second`,
                `sums.KEY` and `skipped`. Each block of packets has rows of its own.
            said: where the statements of packets go.
        """
        self.tables.lookups.write(said.lookups)
        self.tables.certificates.write(said.certificates)
        self.tables.announcements.write(said.announcements)
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
            names = self.connection.sql(NAMES).project("* EXCLUDE (file)")
            names.write_parquet(str(partial), compression="zstd")


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
