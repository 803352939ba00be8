"""The tables that packets fill block by block: conversations, and what few packets say.

They are tables of a DuckDB connection, of one capture or of several small ones: each statement
costs as much as thousands of packets. The column `file` tells captures apart, by numbers from 0.
`sums.py` has the SQL of the sums. Endpoints, stream names and flows derive from them.
"""

from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa

from mt_pipeline.packets import typed
from mt_pipeline.packets.announcements import ANNOUNCEMENTS, SEEN
from mt_pipeline.packets.certificates import CERTIFICATES
from mt_pipeline.packets.lookups import LOOKUPS
from mt_pipeline.packets.numbering import FOR_NUMBERS, Numbers
from mt_pipeline.packets.said import Collected
from mt_pipeline.packets.sums import SUMS, latest
from mt_pipeline.tshark.fields import ALL_KEYS

_FILE = pa.field("file", pa.int32())

CONVERSATIONS = f"""
SELECT file, is_tcp, stream_index, a_address AS address_src, b_address AS address_dst,
    a_port AS port_src, b_port AS port_dst, skipped,
    {latest("sni", "sni_number")} AS sni, max(sni_number) AS sni_number,
    {latest("alpn", "alpn_number")} AS alpn, max(alpn_number) AS alpn_number,
    sum(packets_ab + packets_ba)::BIGINT AS packets, sum(bytes_ab + bytes_ba)::BIGINT AS bytes,
    epoch_us(min(first_ts)) AS first_us, epoch_us(max(last_ts)) AS last_us,
    arg_min(http_host, first_frame) FILTER (http_host IS NOT NULL) AS http_host
FROM sums GROUP BY ALL
"""

NAMES = """
SELECT file, is_tcp, stream_index,
    arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn
FROM conversations
WHERE stream_index IS NOT NULL AND (sni IS NOT NULL OR alpn IS NOT NULL) GROUP BY ALL
"""

_empty: list[pa.Table] = []
"""Typed packets and sums of no documents.

They are computed once, as that takes as long as the packets of a small capture.
"""


def in_file(documents: pa.Table, file: int) -> pa.Table:
    """Return documents with the column `file`."""
    return documents.append_column(_FILE, pa.repeat(pa.scalar(file, _FILE.type), len(documents)))


def without_file(table: pa.Table) -> pa.Table:
    """Return a table of a single capture as it is stored."""
    return table.drop_columns([_FILE.name])


def by_file(table: pa.Table, files: int) -> list[pa.Table]:
    """Divide a table, which has the rows of each capture one after the other, as it is stored."""
    ends = np.searchsorted(table["file"].to_numpy(), np.arange(files), side="right").tolist()
    stored = without_file(table)
    return [stored.slice(start, end - start) for start, end in pairwise([0, *ends])]


class Tables:
    """The tables `conversations`, `lookups`, `certificates` and `announcements` of a connection.

    Attributes:
        keys: the fields of a document that are read.
        connection: for queries of the tables, after `flush`.
        lookups: what DNS answered.
        certificates: the names in certificates.
        announcements: what devices say of themselves.
        empty: typed packets and sums as `fill` returns them, without rows.
    """

    keys = ALL_KEYS

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._numbers = Numbers()
        if not _empty:
            fields = [pa.field(key, pa.list_(pa.string())) for key in self.keys]
            none = typed.with_layers(pa.schema([*fields, _FILE]).empty_table())
            _empty[:] = self._type_and_sum(none)  # threads may do so at once
        self.lookups = Collected(connection, LOOKUPS)
        self.certificates = Collected(connection, CERTIFICATES)
        self.announcements = Collected(connection, ANNOUNCEMENTS)
        self.empty = tuple(_empty)
        connection.register("sums", self.empty[1])
        connection.execute(f"CREATE TEMP TABLE conversations AS {CONVERSATIONS}")

    def fill(self, block: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Fill in a block of documents, with `keys` as columns of lists of text, `in_file`.

        Returns:
            The typed packets, and their sums by second and conversation.
        """
        block = typed.with_layers(block)
        packets, sums = self._type_and_sum(block)
        self.add_sums()
        self.connection.execute(SEEN)
        for collected in (self.lookups, self.certificates, self.announcements):
            collected.add(block)
        return packets, sums

    def add_sums(self) -> None:
        """Add the relation `sums` to the conversations."""
        self.connection.execute(f"INSERT INTO conversations {CONVERSATIONS}")

    def flush(self) -> None:
        """Have all that was added in the tables of the connection."""
        self.lookups.flush()

    def _type_and_sum(self, block: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the typed packets and the sums of a block, which become the relation `sums`."""
        packets = typed.typed(self.connection, block)
        self.connection.register("block", packets)
        sums = self.connection.sql(SUMS).to_arrow_table()
        packets = self._numbers.add_to(packets, sums)
        sums = sums.drop_columns(list(FOR_NUMBERS))
        self.connection.register("sums", sums)
        return packets, sums
