"""The one pass over the documents of a capture: typed packets on disk, and a row per conversation and direction, a hundred times fewer.

Endpoints and names come from the conversations. It can listen to tshark's blocks as they come: while tshark, on another core, is the slower
one, this costs no time, and no document is read again.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.atomic import whole
from mt_pipeline.packets import typed
from mt_pipeline.tshark import documents

_BLOCK = 50_000
"""Documents in a block, when they are read from their file."""

# Of several names of a stream the last one said counts: the number of its packet tells which that is.
_OF_BLOCK = """
SELECT is_tcp, stream_index, address_src, address_dst, skipped,
    arg_max(said_sni, frame_number) FILTER (WHERE said_sni IS NOT NULL) AS sni,
    max(frame_number) FILTER (WHERE said_sni IS NOT NULL) AS sni_number,
    arg_max(said_alpn, frame_number) FILTER (WHERE said_alpn IS NOT NULL) AS alpn,
    max(frame_number) FILTER (WHERE said_alpn IS NOT NULL) AS alpn_number,
    count(*) AS packets, sum(frame_len)::BIGINT AS bytes,
    min(epoch_us(ts)) FILTER (WHERE skipped IS NULL) AS first_us, max(epoch_us(ts)) FILTER (WHERE skipped IS NULL) AS last_us
FROM block GROUP BY ALL
"""

# Of a stream that has no name there is nothing to say.
_NAMES = """
SELECT is_tcp, stream_index, arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn FROM conversations
WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""


class Conversations:
    """The conversations of a capture, in a table `conversations` of a DuckDB connection, and its typed packets in a file.

    Attributes:
        keys: the fields of a document that it looks at.
        connection: for those who ask it questions.
    """

    keys = documents.ALL_KEYS

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path) -> None:
        self.connection = connection
        self._file = file
        nothing = self._typed(pa.schema([(key, pa.list_(pa.string())) for key in self.keys]).empty_table())
        self._writer = pyarrow.parquet.ParquetWriter(file, nothing.schema, compression="zstd")
        connection.execute(f"CREATE TEMP TABLE conversations AS {_OF_BLOCK}")

    def add(self, block: pa.Table) -> None:
        """Take in a block of documents, with `keys` as columns of lists of text."""
        self._writer.write_table(self._typed(block))
        self.connection.execute(f"INSERT INTO conversations {_OF_BLOCK}")

    def read(self, path: Path) -> None:
        """Take in a whole file of documents."""
        with duckdb.connect(config={"threads": 1}) as reading:
            for batch in documents.read(reading, path).to_arrow_reader(_BLOCK):
                self.add(pa.Table.from_batches([batch]))

    def write_packets(self, output: Path) -> None:
        """Give the typed packets their place, as Parquet (`typed.typed`); no more can be added then."""
        self._writer.close()
        with whole(output) as partial:
            self._file.rename(partial)

    def write_names(self, output: Path) -> None:
        """Write what each stream was called, as Parquet: is_tcp, stream_index, tls_sni, tls_alpn; the file appears only when whole."""
        with whole(output) as partial:
            self.connection.sql(_NAMES).write_parquet(str(partial), compression="zstd")

    def _typed(self, block: pa.Table) -> pa.Table:
        """Type a block, and leave it as the relation `block` for the conversations."""
        self.connection.register("documents", block)
        packets = self.connection.sql(typed.typed("documents")).to_arrow_table()
        self.connection.register("block", packets)
        return packets


@contextmanager
def conversations(beside: Path) -> Iterator[Conversations]:
    """Open empty conversations, of bounded memory.

    Args:
        beside: a file in whose folder there is room for what does not fit into memory, and for the typed packets until they are whole.
    """
    with typed.connection(beside) as opened, tempfile.TemporaryDirectory(dir=beside.parent, prefix=".packets-", ignore_cleanup_errors=True) as folder:
        yield Conversations(opened, Path(folder) / "packets.parquet")
    pa.default_memory_pool().release_unused()  # what comes next needs memory of its own
