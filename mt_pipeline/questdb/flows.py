"""Counts the packets of a capture into flows while they are loaded: batches pass through, and are rows of `flow_columns.py` in the end.

Blocks of packets become parts of flows, some times fewer; what of these does not fit into memory goes to disk. No packet is read again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.columns import UNKNOWN
from mt_pipeline.packets import typed
from mt_pipeline.questdb.flow_columns import FLOW_COLUMNS
from mt_pipeline.questdb.rows import BATCH

_BLOCK = 100_000
"""Packets that are counted at once: smaller blocks take half as long again."""

PARTS_OF_AN_END = {"address": ("ip", "ipv6"), "port": ("port",), "eth": ("eth",), "device": ("device",)}
"""What tells the ends of conversations apart, and the columns of a packet, without `_src` and `_dst`, of which the first that is known says it."""

_ENDS = [f"{end}_{part}" for end in "ab" for part in PARTS_OF_AN_END]
_KEY = [*_ENDS, "ip_proto", "stream_index", "apart"]
_NAMES = ("tls_sni", "tls_sni_domain", "tls_alpn", "dns_name", "http_host")
_READ = ["ts", "frame_number", "frame_len", "ip_proto", "stream_index", "protocol", *_NAMES, "skipped"]
_READ += [f"{name}_{end}" for names in PARTS_OF_AN_END.values() for name in names for end in ("src", "dst")]
_TRANSPORTS = "('tcp', 'udp', 'udplite')"


def _of_ends(end: str) -> str:
    return ", ".join(f"coalesce({', '.join(f'{name}_{end}' for name in names)}) AS {end}_{part}" for part, names in PARTS_OF_AN_END.items())


def _chosen(parts: Iterable[str], condition: str, if_true: str, if_false: str, name: str) -> str:
    """Choose between two ends or directions, part by part; in the patterns, `{}` is the part."""
    return ", ".join(f"CASE WHEN {condition} THEN {if_true.format(part)} ELSE {if_false.format(part)} END AS {name.format(part)}" for part in parts)


def _first_names(by: str) -> str:
    return ", ".join(f"arg_min({name}, {by}) FILTER ({name} IS NOT NULL) AS {name}" for name in _NAMES)


# End a is the smaller of the two, so both directions meet; a packet that is turned went from b to a.
_PARTS = f"""
WITH packets AS (
    SELECT * REPLACE (nullif(ip_proto, '{UNKNOWN}') AS ip_proto, nullif(tls_sni, '{UNKNOWN}') AS tls_sni, nullif(tls_alpn, '{UNKNOWN}') AS tls_alpn),
        CASE WHEN stream_index IS NULL THEN protocol END AS apart, {_of_ends("src")}, {_of_ends("dst")}
    FROM block WHERE skipped IS NULL),
directed AS (
    SELECT *, CASE
        WHEN src_address IS DISTINCT FROM dst_address THEN coalesce(src_address, '') > coalesce(dst_address, '')
        WHEN src_port IS DISTINCT FROM dst_port THEN coalesce(src_port, -1) > coalesce(dst_port, -1)
        ELSE coalesce(src_eth, '') > coalesce(dst_eth, '') END AS turned
    FROM packets),
met AS (
    SELECT *, {_chosen(PARTS_OF_AN_END, "turned", "dst_{}", "src_{}", "a_{}")}, {_chosen(PARTS_OF_AN_END, "turned", "src_{}", "dst_{}", "b_{}")}
    FROM directed)
SELECT epoch_us(ts) // 1000000 AS second, {", ".join(_KEY)},
    count(*) FILTER (NOT turned) AS packets_ab, coalesce(sum(frame_len) FILTER (NOT turned), 0)::BIGINT AS bytes_ab,
    count(*) FILTER (turned) AS packets_ba, coalesce(sum(frame_len) FILTER (turned), 0)::BIGINT AS bytes_ba,
    min(ts) AS first_ts, max(ts) AS last_ts, min(frame_number) AS first_frame, arg_min(turned, frame_number) AS turned, {_first_names("frame_number")}
FROM met GROUP BY ALL
"""

_PROTOCOLS = f"""
SELECT nullif(ip_proto, '{UNKNOWN}') AS ip_proto, stream_index, protocol, count(*) AS packets
FROM block WHERE skipped IS NULL AND stream_index IS NOT NULL GROUP BY ALL
"""

# The endpoints of a capture are exactly its public addresses (packets/endpoints.py), so being one decides.
_CONVERSATIONS = f"""
WITH whole AS (SELECT {", ".join(_KEY)}, min(first_frame) AS conversation, arg_min(turned, first_frame) AS turned FROM parts GROUP BY ALL),
spoken AS (
    SELECT ip_proto, stream_index, first(protocol ORDER BY protocol IN {_TRANSPORTS}, packets DESC, protocol) AS protocol
    FROM (SELECT ip_proto, stream_index, protocol, sum(packets) AS packets FROM protocols GROUP BY ALL) GROUP BY ALL),
placed AS (
    SELECT whole.*, coalesce(whole.apart, spoken.protocol) AS protocol, a.endpoint IS NOT NULL AS a_is_public, b.endpoint IS NOT NULL AS b_is_public,
        CASE WHEN a_is_public <> b_is_public THEN b_is_public ELSE NOT turned END AS a_is_local
    FROM whole
    LEFT JOIN answers a ON a.kind = 'address' AND a.endpoint = whole.a_address
    LEFT JOIN answers b ON b.kind = 'address' AND b.endpoint = whole.b_address
    LEFT JOIN spoken ON spoken.stream_index = whole.stream_index AND spoken.ip_proto IS NOT DISTINCT FROM whole.ip_proto)
SELECT *, {_chosen([*PARTS_OF_AN_END, "is_public"], "a_is_local", "a_{}", "b_{}", "local_{}")},
    {_chosen([*PARTS_OF_AN_END, "is_public"], "a_is_local", "b_{}", "a_{}", "remote_{}")}
FROM placed
"""

_FLOWS = f"""
WITH counted AS (
    SELECT second, conversation,
        sum(packets_ab)::BIGINT AS packets_ab, sum(bytes_ab)::BIGINT AS bytes_ab,
        sum(packets_ba)::BIGINT AS packets_ba, sum(bytes_ba)::BIGINT AS bytes_ba, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
        {_first_names("first_frame")}
    FROM parts JOIN conversations ON {" AND ".join(f"parts.{name} IS NOT DISTINCT FROM conversations.{name}" for name in _KEY)} GROUP BY ALL),
f AS (
    SELECT *, {_chosen(("packets", "bytes"), "a_is_local", "{}_ab", "{}_ba", "{}_out")},
        {_chosen(("packets", "bytes"), "a_is_local", "{}_ba", "{}_ab", "{}_in")}
    FROM counted JOIN conversations USING (conversation))
SELECT {", ".join(f"{column.source} AS {column.name}" for column in FLOW_COLUMNS)}
FROM f
LEFT JOIN answers address ON address.kind = 'address' AND address.endpoint = f.remote_address
LEFT JOIN answers name ON name.kind = 'name' AND name.endpoint = rtrim(lower(f.tls_sni), '.')
ORDER BY f.second, f.conversation
"""


class Flows:
    """The flows of a capture, in a DuckDB connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._block: list[pa.RecordBatch] = []
        self._begun = False

    def counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches of `rows.rows` on, and count the packets that can be stored; each is counted while it is already under way."""
        for batch in batches:
            yield batch
            self._block.append(batch.select(_READ))
            if sum(part.num_rows for part in self._block) >= _BLOCK:
                self._count()
        if self._block:
            self._count()

    def batches(self, enrichment: Path, *, capture: str, experiment: str) -> Iterator[pa.RecordBatch]:
        """Give the flows of all that was counted, in the order of time.

        Args:
            enrichment: Parquet of the enrichment room, one row for every public endpoint of these packets.
            capture: the capture key.
            experiment: its experiment.

        Returns:
            Record batches with all of FLOW_COLUMNS.
        """
        if not self._begun:
            return iter(())
        self._connection.register("answers", _answers(enrichment))
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE conversations AS {_CONVERSATIONS}")
        flows = self._connection.sql(_FLOWS, params={"capture": capture, "experiment": experiment})
        return (_encoded(batch) for batch in flows.to_arrow_reader(BATCH))

    def _count(self) -> None:
        self._connection.register("block", pa.Table.from_batches(self._block))
        for table, parts in {"parts": _PARTS, "protocols": _PROTOCOLS}.items():
            self._connection.execute(f"INSERT INTO {table} {parts}" if self._begun else f"CREATE TEMP TABLE {table} AS {parts}")
        self._begun = True
        self._block.clear()


@contextmanager
def flows(beside: Path) -> Iterator[Flows]:
    """Open empty flows, of bounded memory.

    Args:
        beside: a file in whose folder there is room for what does not fit into memory.
    """
    with typed.connection(beside) as connection:
        connection.execute("SET threads = 1")  # the load needs the other cores; two would take a third more of them together
        yield Flows(connection)


def _answers(enrichment: Path) -> pa.Table:
    """Read the answers; no symbol holds a NUL."""
    answers = pyarrow.parquet.read_table(enrichment)
    for place, field in enumerate(answers.schema):
        if pa.types.is_string(field.type):
            answers = answers.set_column(place, field, pyarrow.compute.replace_substring(answers[field.name], "\0", ""))
    return answers


def _encoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give text as dictionaries, as the lines to QuestDB take it."""
    columns = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
