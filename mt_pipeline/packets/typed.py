"""SQL from documents to typed packets, and from these to rows with the names of their streams.

All of it works block by block. `conversations.py` collects the names of the streams, and
`rows/packets.py` adds what providers answered.
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
import pyarrow.compute as pc
import pyarrow.parquet
from duckdb.func import ARROW, SPECIAL

from mt_pipeline.packets import http_methods
from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline.packets.ip_protocols import keyword
from mt_pipeline.packets.ja4 import ja4
from mt_pipeline.packets.layers import Layers, choose
from mt_pipeline.schema.packets import COLUMNS, Origin
from mt_pipeline.system import duckdb_pool

_Type: TypeAlias = tuple[pa.DataType, str]
"""The type in Arrow and in DuckDB."""

_TEXT: _Type = (pa.string(), "VARCHAR")
_TYPES: dict[object, pa.DataType] = {
    str | None: pa.string(),
    bool: pa.bool_(),
    int: pa.int32(),
    int | None: pa.int32(),
}
_LAYERS = pa.struct([(field.name, _TYPES[field.type]) for field in fields(Layers)])

# `epoch_us_of` reads `1700000000.123456789` or ISO 8601 to exact microseconds since 1970, digit by
# digit, as a float would round; all else is NULL. tshark 4.0 prints nine decimals, the fast case.
# Ten and more are a fraction of a second or more, which is no time: `1700000000.1500000000`.
# `reason_to_skip`: QuestDB stores no time before 1970, nor after the last microsecond of 9999.
# `whole_number`: tshark's numbers are never negative, and QuestDB takes the lowest one for NULL.
_MACROS = """
CREATE MACRO whole_number(text) AS TRY_CAST(TRY_CAST(text AS UINTEGER) AS INTEGER);
CREATE MACRO epoch_us_of(text) AS CASE
    WHEN text[-10] = '.' AND NOT contains(text, ':') THEN
        TRY_CAST(replace(left(text, -3), '.', '') AS BIGINT)
    WHEN regexp_matches(text, '[.]\\d{10}') THEN NULL
    WHEN contains(text, ':') THEN
        epoch_us(TRY_CAST(regexp_extract(text, '^[^.Z]+') AS TIMESTAMP))
        + rpad(left(regexp_extract(text, '[.](\\d+)', 1), 6), 6, '0')::BIGINT
    ELSE TRY_CAST(
        split_part(text, '.', 1) || rpad(left(split_part(text, '.', 2), 6), 6, '0') AS BIGINT
    ) END;
CREATE MACRO reason_to_skip(number, text, time_us) AS CASE
    WHEN whole_number(number) IS NULL THEN 'number not readable'
    WHEN time_us IS NULL THEN 'time not readable'
    WHEN time_us < 0 OR starts_with(text, '-') THEN 'time before 1970'
    WHEN time_us > 253402300799999999 THEN 'time after 9999' END;
"""


def connection(path: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Open a DuckDB connection of bounded memory that has the functions of this module.

    Args:
        path: a file. What does not fit into memory is written near it.
    """
    return duckdb_pool.connection(path, prepare=_prepare)


def _prepare(database: duckdb.DuckDBPyConnection) -> None:
    for name, function, argument, result in _FUNCTIONS:
        # SPECIAL passes NULL in and out. Otherwise one packet with a NULL result fails the query.
        database.create_function(
            name,
            _per_distinct_value(function, result),
            [argument[1]],
            result[1],
            type=ARROW,
            null_handling=SPECIAL,
        )
    database.execute(_MACROS)


_HELLO = """
    CASE WHEN NOT p.quotes AND p.tls_handshake_ja3_full IS NOT NULL THEN concat_ws('|',
        CASE WHEN contains(p.frame_protocols[1], ':quic') THEN 'q' ELSE 't' END,
        p.tls_handshake_ja3_full[1],
        coalesce(array_to_string(p.tls_handshake_extensions_supported_version, ','), ''),
        coalesce(array_to_string(p.tls_handshake_sig_hash_alg, ','), ''),
        coalesce(p.said_alpn, '')) END"""
"""What `ja4` makes a JA4 of."""

_METHOD = f"CASE WHEN NOT p.quotes THEN {http_methods.bit('p.http_response_code[1]')} END"


@lru_cache(maxsize=100_000)
def _layers(frame_protocols: str) -> dict[str, object]:
    return asdict(choose(frame_protocols))


def with_layers(documents: pa.Table) -> pa.Table:
    """Add the fields of `layers.Layers` as columns; each distinct `frame.protocols` counts once."""
    protocols = pc.list_element(documents["frame_protocols"].combine_chunks(), 0)
    chosen = _each(protocols.fill_null(""), _layers, _LAYERS)
    for field, column in zip(_LAYERS, chosen.flatten(), strict=True):
        documents = documents.append_column(field, column)
    return documents


def packets(source: str) -> str:
    """Build the SQL of packets: their layer with its stream and addresses, time and names.

    Args:
        source: a relation of documents `with_layers` and at least the fields that are used.
    """
    return f"""
        SELECT *,
            reason_to_skip(frame_number[1], frame_time_epoch[1], time_us) AS skipped,
            whole_number(coalesce(tcp_stream[tcp_at], udp_stream[udp_at])) AS stream,
            coalesce(ip_src[ip_at], ipv6_src[ipv6_at]) AS address_src,
            coalesce(ip_dst[ip_at], ipv6_dst[ipv6_at]) AS address_dst,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_server_name[1] END AS said_sni,
            CASE WHEN NOT quotes THEN tls_handshake_extensions_alpn_str[1] END AS said_alpn
        FROM (
            SELECT *, epoch_us_of(frame_time_epoch[1]) AS time_us FROM {source})
    """


def typed(opened: duckdb.DuckDBPyConnection, documents: pa.Table) -> pa.Table:
    """Return the typed packets of documents, as they are stored in Parquet.

    They have the packet columns of `schema/packets.py`, and those below. `numbering.py` adds the
    conversation.

    - `is_tcp`: whether `stream_index` counts TCP streams, or UDP streams;
    - `address_src` and `address_dst`: IPv4 or IPv6 addresses as text;
    - `said_sni` and `said_alpn`: the names in this very packet;
    - `said_ja4`: the JA4 of the hello in this packet;
    - `said_method`: the bit of the method of HTTP in this packet; see `http_methods.py`;
    - `skipped`: why the packet cannot be stored, NULL if it can;
    - `file`: which capture it is in; only `tables.py` has that.

    Args:
        opened: a `connection`.
        documents: with a column per field, the column `file`, and `with_layers`.
    """
    opened.register("documents", documents)
    packets = opened.sql(_TYPED).to_arrow_table()
    place = packets.schema.get_field_index("said_ja4")
    hellos = packets["said_ja4"].combine_chunks()
    return packets.set_column(place, "said_ja4", _each(hellos, ja4, pa.string()))


_COLUMNS = ", ".join(
    f"{column.source} AS {column.name}" for column in COLUMNS if column.origin is Origin.PACKET
)
_TYPED = f"""
SELECT {_COLUMNS}, p.tcp_at IS NOT NULL AS is_tcp,
    p.address_src, p.address_dst, p.said_sni, p.said_alpn, {_HELLO} AS said_ja4,
    {_METHOD} AS said_method, p.skipped, p.file
FROM ({packets("documents")}) p
"""


def parquet(*paths: Path) -> str:
    """Build the SQL of a relation that reads Parquet files."""
    quoted = (f"'{str(path).replace(chr(39), 2 * chr(39))}'" for path in paths)
    return f"read_parquet([{', '.join(quoted)}])"


def rows(opened: duckdb.DuckDBPyConnection, packets: Path, names: Path) -> duckdb.DuckDBPyRelation:
    """Join the typed packets of a capture with the names of their streams; see `joined`.

    Args:
        opened: a `connection`.
        packets: Parquet of typed packets.
        names: Parquet of stream names.
    """
    return joined(opened, parquet(packets), parquet(names))


def joined(
    opened: duckdb.DuckDBPyConnection, packets: str, names: str, *, where: str = "true"
) -> duckdb.DuckDBPyRelation:
    """Join typed packets with the names of their streams.

    Args:
        opened: a `connection`.
        packets: a relation of typed packets.
        names: a relation of stream names.
        where: SQL of a truth value over `p`, a typed packet, and `names`, those of its stream.

    Returns:
        The columns of `schema/packets.py` with an origin of IN_PACKETS, `address_src`,
        `address_dst` and `skipped`.
    """
    columns = []
    for column in COLUMNS:
        if column.origin in (Origin.PACKET, Origin.CONVERSATION):
            columns.append(f"p.{column.name}")
        elif column.origin is Origin.STREAM:
            columns.append(f"{column.source} AS {column.name}")
    return opened.sql(
        f"""
        SELECT {", ".join(columns)}, p.address_src, p.address_dst, p.skipped
        FROM {packets} p LEFT JOIN {names} names
            ON names.stream_index = p.stream_index AND names.is_tcp = p.is_tcp
        WHERE {where}
        """
    )


_FUNCTIONS: tuple[tuple[str, Callable[[Any], object], _Type, _Type], ...] = (
    ("keyword", keyword, (pa.uint8(), "UTINYINT"), _TEXT),
    ("registrable_domain", registrable_domain, _TEXT, _TEXT),
)
"""Name in SQL, function of a value that is not NULL, types of its argument and result."""


def _per_distinct_value(
    function: Callable[[Any], object], result: _Type
) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Return a function of a block that calls `function` once per distinct value."""
    return lambda values: _each(values.combine_chunks(), function, result[0])


def _each(values: pa.Array, function: Callable[[Any], object], result: pa.DataType) -> pa.Array:
    """Return the result of a function for each value, which it is called with once."""
    encoded = values.dictionary_encode()
    found = pa.array(map(function, encoded.dictionary.to_pylist()), result)
    return found.take(encoded.indices)


def out_of_order(packets: Path) -> int:
    """Count the typed packets that are earlier than the packet before them.

    Mirror ports and merged files have such packets. They do no harm, as each row has its own time.
    Packets without a time are ignored.
    """
    late, last = 0, np.empty(0, np.int64)
    with pyarrow.parquet.ParquetFile(packets) as file:
        for batch in file.iter_batches(columns=["ts"]):
            times = batch.column(0).drop_null().cast(pa.int64()).to_numpy()
            late += int(np.count_nonzero(np.diff(np.concatenate([last, times])) < 0))
            last = times[-1:] if len(times) else last
    return late
