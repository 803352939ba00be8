"""Documents to typed packets: the layer of each, and the packet columns of `columns.py`; then rows, with the names of the streams.

Nothing here holds more than a block. What streams are called is found by `conversations.py`; what answers add to a row is the business of
`rows/packets.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from duckdb.func import ARROW, SPECIAL

from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline.packets.ip_protocols import keyword
from mt_pipeline.packets.layers import Layers, choose
from mt_pipeline.schema.packets import COLUMNS, Origin
from mt_pipeline.system import duckdb_pool

_Type: TypeAlias = tuple[pa.DataType, str]
"""Of Arrow, and of DuckDB."""

_TEXT, _TRUTH, _PLACE = (pa.string(), "VARCHAR"), (pa.bool_(), "BOOLEAN"), (pa.int32(), "INTEGER")
_LAYER_FIELDS = {
    field.name: {"protocol": _TEXT, "above_extensions": _TEXT, "quotes": _TRUTH}.get(
        field.name, _PLACE
    )
    for field in fields(Layers)
}
_LAYER_SCHEMA = pa.struct([pa.field(name, arrow) for name, (arrow, _) in _LAYER_FIELDS.items()])
_LAYER_TYPE = f"STRUCT({', '.join(f'{name} {sql}' for name, (_, sql) in _LAYER_FIELDS.items())})"

# Exact microseconds since 1970 from `1700000000.123456789` or ISO 8601, digit by digit, never through a float; NULL if it is neither.
# tshark 4.0 always says nine decimals, which is the quick way.
# QuestDB stores none before 1970 and none after the last microsecond of 9999.
# No number of tshark's is negative, and QuestDB takes the least one for NULL.
_MACROS = """
CREATE MACRO whole_number(text) AS TRY_CAST(TRY_CAST(text AS UINTEGER) AS INTEGER);
CREATE MACRO epoch_us_of(text) AS CASE
    WHEN contains(text, ':') THEN
        epoch_us(TRY_CAST(regexp_extract(text, '^[^.Z]+') AS TIMESTAMP)) + rpad(left(regexp_extract(text, '[.](\\d+)', 1), 6), 6, '0')::BIGINT
    WHEN text[-10] = '.' THEN TRY_CAST(replace(text[:-4], '.', '') AS BIGINT)
    ELSE TRY_CAST(split_part(text, '.', 1) || rpad(left(split_part(text, '.', 2), 6), 6, '0') AS BIGINT) END;
CREATE MACRO reason_to_skip(number, text, time_us) AS CASE
    WHEN whole_number(number) IS NULL THEN 'number not readable'
    WHEN time_us IS NULL THEN 'time not readable'
    WHEN time_us < 0 OR starts_with(text, '-') THEN 'time before 1970'
    WHEN time_us > 253402300799999999 THEN 'time after 9999' END;
"""


def connection(beside: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Open a DuckDB of bounded memory that can choose layers; what is larger goes to disk beside a file.

    Args:
        beside: a file, in whose folder there is room.
    """
    return duckdb_pool.connection(beside, prepare=_prepare)


def _prepare(database: duckdb.DuckDBPyConnection) -> None:
    for name, function, argument, result in _FUNCTIONS:
        # Special: NULL is given and may be returned. Else a function that finds nothing to say of one packet ends the whole query.
        database.create_function(
            name,
            _of_each(function, result),
            [argument[1]],
            result[1],
            type=ARROW,
            null_handling=SPECIAL,
        )
    database.execute(_MACROS)


def packets(source: str) -> str:
    """Build the SQL of packets: the chosen layer, its stream and addresses, the time, and what the packet itself says of names.

    Args:
        source: a relation of documents, all their fields or as many as are used.
    """
    return f"""
        SELECT *,
            reason_to_skip(frame_number[1], frame_time_epoch[1], time_us) AS skipped,
            whole_number(coalesce(tcp_stream[tcp_at], udp_stream[udp_at])) AS stream,
            coalesce(ip_src[ip_at], ipv6_src[ipv6_at]) AS address_src,
            coalesce(ip_dst[ip_at], ipv6_dst[ipv6_at]) AS address_dst,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_server_name[1] END AS said_sni,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_alpn_str[1] END AS said_alpn
        FROM (SELECT *, epoch_us_of(frame_time_epoch[1]) AS time_us, unnest(layers(coalesce(frame_protocols[1], ''))) FROM {source})
    """


def typed(source: str) -> str:
    """Build the SQL of typed packets, as they are stored in Parquet beside the endpoints.

    The packet columns of `columns.py`, and what others need of a packet: `is_tcp` tells which count its `stream_index` is of, `address_src` and
    `address_dst` are text, IPv4 or IPv6, `said_sni` and `said_alpn` are what this packet itself says, `skipped` is why it cannot be stored,
    NULL if it can.

    Args:
        source: a relation of documents.
    """
    columns = ", ".join(
        f"{column.source} AS {column.name}" for column in COLUMNS if column.origin is Origin.PACKET
    )
    others = "p.tcp_at IS NOT NULL AS is_tcp, p.address_src, p.address_dst, p.said_sni, p.said_alpn, p.skipped"
    return f"SELECT {columns}, {others} FROM ({packets(source)}) p"


def rows(opened: duckdb.DuckDBPyConnection, packets: Path, names: Path) -> duckdb.DuckDBPyRelation:
    """Put the names of their streams on the typed packets of a capture.

    Args:
        opened: a `connection`.
        packets: Parquet of typed packets.
        names: Parquet of what each stream was called.

    Returns:
        The packet and stream columns of `columns.py`, `address_src`, `address_dst` and `skipped`.
    """
    columns = {
        column.name: {Origin.PACKET: f"p.{column.name}", Origin.STREAM: column.source}.get(
            column.origin
        )
        for column in COLUMNS
    }
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items() if sql)
    return opened.sql(
        f"""
        SELECT {chosen}, p.address_src, p.address_dst, p.skipped
        FROM read_parquet($packets) p LEFT JOIN read_parquet($names) names ON names.stream_index = p.stream_index AND names.is_tcp = p.is_tcp
        """,
        params={"packets": str(packets), "names": str(names)},
    )


_choose = lru_cache(maxsize=100_000)(choose)


def _layers(frame_protocols: str) -> dict[str, object]:
    return asdict(_choose(frame_protocols))


_FUNCTIONS: tuple[tuple[str, Callable[[Any], object], _Type, _Type], ...] = (
    ("layers", _layers, _TEXT, (_LAYER_SCHEMA, _LAYER_TYPE)),
    ("keyword", keyword, (pa.uint8(), "UTINYINT"), _TEXT),
    ("registrable_domain", registrable_domain, _TEXT, _TEXT),
)
"""Name in SQL, what is called for a value that is not NULL, and the types of argument and result."""


def _of_each(
    function: Callable[[Any], object], result: _Type
) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Call a function once per distinct value of a block; of NULL there is NULL."""

    def of_block(values: pa.ChunkedArray) -> pa.Array:
        encoded = values.combine_chunks().dictionary_encode()
        return pa.array(map(function, encoded.dictionary.to_pylist()), result[0]).take(
            encoded.indices
        )

    return of_block


def out_of_order(packets: Path) -> int:
    """Count the typed packets that are earlier than the one before them, as mirror ports and merged files have them.

    They are only counted: each row has its own time. Packets without a time are passed over.
    """
    late, last = 0, np.empty(0, np.int64)
    with pyarrow.parquet.ParquetFile(packets) as file:
        for batch in file.iter_batches(columns=["ts"]):
            times = batch.column(0).drop_null().cast(pa.int64()).to_numpy()
            late += int(np.count_nonzero(np.diff(np.concatenate([last, times])) < 0))
            last = times[-1:] if len(times) else last
    return late
