"""One pass over the packets of a capture: a row per conversation and direction, a hundred times fewer. Endpoints and names come from it.

It can listen to tshark's blocks as they come, so that no document is read again while tshark, on another core, is the slower one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from mt_pipeline.atomic import whole
from mt_pipeline.packets import typed
from mt_pipeline.tshark import documents

# The last name said is the stream's; a number tells which that was when blocks are put together.
_OF_BLOCK = """
SELECT tcp_at IS NOT NULL AS is_tcp, stream, address_src, address_dst, skipped,
    arg_max(said_sni, number) FILTER (WHERE said_sni IS NOT NULL) AS sni, max(number) FILTER (WHERE said_sni IS NOT NULL) AS sni_number,
    arg_max(said_alpn, number) FILTER (WHERE said_alpn IS NOT NULL) AS alpn, max(number) FILTER (WHERE said_alpn IS NOT NULL) AS alpn_number,
    count(*) AS packets, sum(TRY_CAST(frame_len[1] AS BIGINT))::BIGINT AS bytes,
    min(time_us) FILTER (WHERE skipped IS NULL) AS first_us, max(time_us) FILTER (WHERE skipped IS NULL) AS last_us
FROM (SELECT *, TRY_CAST(frame_number[1] AS BIGINT) AS number FROM ({packets})) GROUP BY ALL
"""

# Of a stream that has no name there is nothing to say.
_NAMES = """
SELECT is_tcp, stream, arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn FROM conversations
WHERE stream IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""


class Conversations:
    """The conversations of a capture, in a table `conversations` of a DuckDB connection.

    Attributes:
        keys: the fields of a document that it looks at.
        connection: for those who ask it questions.
    """

    keys = (
        "frame_number", "frame_time_epoch", "frame_len", "frame_protocols", "ip_src", "ip_dst", "ipv6_src", "ipv6_dst", "tcp_stream", "udp_stream",
        "tls_handshake_extensions_server_name", "tls_handshake_extensions_alpn_str",
    )  # fmt: skip

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        nothing = pa.schema([(key, pa.list_(pa.string())) for key in self.keys]).empty_table()
        connection.register("block", nothing)
        connection.execute(f"CREATE TEMP TABLE conversations AS {_OF_BLOCK.format(packets=typed.packets('block'))}")

    def add(self, block: pa.Table) -> None:
        """Take in a block of documents, with `keys` as columns of lists of text."""
        self.connection.register("block", block)
        self._insert("block")

    def read(self, path: Path) -> None:
        """Take in a whole file of documents."""
        documents.read(self.connection, path, keys=self.keys).create_view("documents")
        self._insert("documents")

    def write_names(self, output: Path) -> None:
        """Write what each stream was called, as Parquet: is_tcp, stream, tls_sni, tls_alpn; the file appears only when whole."""
        with whole(output) as partial:
            self.connection.sql(_NAMES).write_parquet(str(partial), compression="zstd")

    def _insert(self, source: str) -> None:
        self.connection.execute(f"INSERT INTO conversations {_OF_BLOCK.format(packets=typed.packets(source))}")


@contextmanager
def conversations(beside: Path) -> Iterator[Conversations]:
    """Open empty conversations, of bounded memory; what is larger goes to disk beside a file."""
    with typed.connection(beside) as opened:
        yield Conversations(opened)
