"""Documents to typed rows: the layer of each packet, the names of its stream, and the packet columns of `columns.py`.

Everything is a DuckDB relation that streams; only the names of the streams are held, one row a stream. What answers add to a row
is the business of `questdb/rows.py`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb.func import ARROW

from mt_pipeline.columns import COLUMNS, Origin
from mt_pipeline.packets.ip_protocols import keyword
from mt_pipeline.packets.layers import Layers, choose
from mt_pipeline.tshark import documents

MEMORY = "256MB"
"""What DuckDB may hold before it moves to disk."""

_TEXT, _TRUTH, _PLACE = (pa.string(), "VARCHAR"), (pa.bool_(), "BOOLEAN"), (pa.int32(), "INTEGER")
_LAYER_FIELDS = {field.name: {"protocol": _TEXT, "above_extensions": _TEXT, "quotes": _TRUTH}.get(field.name, _PLACE) for field in fields(Layers)}
_LAYER_SCHEMA = pa.struct([pa.field(name, arrow) for name, (arrow, _) in _LAYER_FIELDS.items()])
_LAYER_TYPE = f"STRUCT({', '.join(f'{name} {sql}' for name, (_, sql) in _LAYER_FIELDS.items())})"

# Exact microseconds since 1970 from `1700000000.123456789` or ISO 8601, digit by digit, never through a float; NULL if it is neither.
# QuestDB stores none before 1970 and none after the last microsecond of 9999.
_MACROS = """
CREATE TEMP MACRO epoch_us_of(text) AS CASE
    WHEN contains(text, ':') THEN
        epoch_us(TRY_CAST(regexp_extract(text, '^[^.Z]+') AS TIMESTAMP)) + rpad(left(regexp_extract(text, '[.](\\d+)', 1), 6), 6, '0')::BIGINT
    ELSE TRY_CAST(split_part(text, '.', 1) || rpad(left(split_part(text, '.', 2), 6), 6, '0') AS BIGINT) END;
CREATE TEMP MACRO reason_to_skip(text, time_us) AS CASE
    WHEN time_us IS NULL THEN 'time not readable'
    WHEN time_us < 0 OR starts_with(text, '-') THEN 'time before 1970'
    WHEN time_us > 253402300799999999 THEN 'time after 9999' END;
"""


def _packets(source: str) -> str:
    """Build the SQL of packets: the fields, the time, and the chosen layer with the stream and the addresses that it has."""
    return f"""
        SELECT *,
            reason_to_skip(frame_time_epoch[1], time_us) AS skipped,
            coalesce(above_extensions, keyword(TRY_CAST(coalesce(ip_proto[ip_at], ipv6_nxt[ipv6_at]) AS UTINYINT))) AS ip_proto_keyword,
            TRY_CAST(coalesce(tcp_stream[tcp_at], udp_stream[udp_at]) AS INTEGER) AS stream,
            coalesce(ip_src[ip_at], ipv6_src[ipv6_at]) AS address_src,
            coalesce(ip_dst[ip_at], ipv6_dst[ipv6_at]) AS address_dst,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_server_name[1] END AS said_sni,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_alpn_str[1] END AS said_alpn
        FROM (
            SELECT *, epoch_us_of(frame_time_epoch[1]) AS time_us, TRY_CAST(frame_number[1] AS BIGINT) AS number,
                unnest(layers(coalesce(frame_protocols[1], '')))
            FROM {source})
    """


# What each stream was called: the last one said wins, for all its packets.
_NAMES = f"""
SELECT tcp_at IS NOT NULL AS is_tcp, stream,
    arg_max(said_sni, number) FILTER (WHERE said_sni IS NOT NULL) AS tls_sni,
    arg_max(said_alpn, number) FILTER (WHERE said_alpn IS NOT NULL) AS tls_alpn
FROM ({_packets("(SELECT * FROM documents WHERE tls_handshake_extensions_server_name IS NOT NULL OR tls_handshake_extensions_alpn_str IS NOT NULL)")})
WHERE stream IS NOT NULL GROUP BY ALL
"""


@contextmanager
def packets(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open documents as packets: a connection with a view `packets`, one row a packet with its fields and its chosen layer.

    Yields:
        A DuckDB connection of bounded memory, closed on leaving; what is larger goes to disk beside the documents.
    """
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".spill-", ignore_cleanup_errors=True) as spill,
        duckdb.connect(config={"memory_limit": MEMORY, "threads": 2, "temp_directory": spill}) as connection,
    ):
        connection.create_function("layers", _layers, ["VARCHAR"], _LAYER_TYPE, type=ARROW)
        connection.create_function("keyword", _keywords, ["UTINYINT"], "VARCHAR", type=ARROW)
        connection.execute(_MACROS)
        documents.read(connection, path).create_view("documents")
        connection.execute(f"CREATE TEMP VIEW packets AS {_packets('documents')}")
        yield connection


def rows(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
    """Type the packets.

    Returns:
        The packet columns of `columns.py`, `address_src` and `address_dst` as text for the answers, and `skipped`: why this packet
        cannot be stored, NULL if it can.
    """
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS names AS {_NAMES}")
    columns = ", ".join(f"{column.source} AS {column.name}" for column in COLUMNS if column.origin is Origin.PACKET)
    return connection.sql(f"""
        SELECT {columns}, p.address_src, p.address_dst, p.skipped
        FROM packets p LEFT JOIN names ON names.stream = p.stream AND names.is_tcp = (p.tcp_at IS NOT NULL)
    """)


_choose = lru_cache(maxsize=100_000)(choose)


def _layers(frame_protocols: pa.ChunkedArray) -> pa.Array:
    """Look the layers up once per distinct value of a block."""
    encoded = _encoded(frame_protocols)
    return pa.array([asdict(_choose(value)) for value in encoded.dictionary.to_pylist()], _LAYER_SCHEMA).take(encoded.indices)


def _keywords(numbers: pa.ChunkedArray) -> pa.Array:
    encoded = _encoded(numbers)
    return pa.array([keyword(number) for number in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _encoded(values: pa.ChunkedArray) -> pa.DictionaryArray:
    return values.combine_chunks().dictionary_encode()
