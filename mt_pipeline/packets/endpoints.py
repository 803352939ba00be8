"""The distinct endpoints of a capture: its public addresses, and names of remote ends.

Names are those that TLS and QUIC say, and apart from these the other names that remote ends may
have: hosts of HTTP, and what DNS answered about addresses of the capture. Each comes with its
packets, bytes and times. What endpoints are is the enrichment room's business.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.packets.names import http_host_name
from mt_pipeline.packets.reachability import is_public
from mt_pipeline.packets.tables import Tables, by_file
from mt_pipeline.system.atomic import whole

SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string()),  # "address", "name", or REMOTE_NAME
        pa.field("endpoint", pa.string()),
        pa.field("packets", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("first_seen", pa.timestamp("us", tz="UTC")),
        pa.field("last_seen", pa.timestamp("us", tz="UTC")),
    ]
)

REMOTE_NAME = "remote_name"
"""The kind of a name that only HTTP or DNS gives."""

# At least two labels of at most 63 letters, digits, hyphens and underscores; the last one not all
# digits.
_NAME = re.compile(
    r"(?=.{4,253}\Z)"
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+"
    r"(?!\d+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])\Z"
)

# A server name and a host have all packets of their streams, a name of DNS all of its addresses. An
# address has each packet once, even one from itself to itself.
ENDPOINTS = f"""
WITH streams AS (
    SELECT file, arg_max(sni, sni_number) AS endpoint,
        arg_min(http_host, first_us) FILTER (http_host IS NOT NULL) AS http_host,
        sum(packets) AS packets, sum(bytes) AS bytes,
        min(first_us) AS first_us, max(last_us) AS last_us
    FROM conversations WHERE stream_index IS NOT NULL GROUP BY file, is_tcp, stream_index),
ends AS (
    SELECT file, 'address' AS kind, unnest(list_distinct([address_src, address_dst])) AS endpoint,
        packets, bytes, first_us, last_us FROM conversations
    UNION ALL
    SELECT file, 'name', rtrim(lower(endpoint), '.'), packets, bytes, first_us, last_us
    FROM streams),
named AS (
    FROM ends
    UNION ALL
    SELECT file, '{REMOTE_NAME}', {http_host_name("http_host")}, packets, bytes, first_us,
        last_us
    FROM streams
    UNION ALL
    SELECT ends.file, '{REMOTE_NAME}', name, packets, bytes, first_us, last_us
    FROM ends JOIN (SELECT DISTINCT file, name, address FROM lookups) answered
        ON ends.endpoint = answered.address AND ends.file = answered.file
            AND ends.kind = 'address')
SELECT file, kind, endpoint, sum(packets)::BIGINT AS packets, sum(bytes)::BIGINT AS bytes,
    make_timestamptz(min(first_us)) AS first_seen, make_timestamptz(max(last_us)) AS last_seen
FROM named WHERE endpoint <> '' AND NOT (kind = '{REMOTE_NAME}'
    AND (file, endpoint) IN (SELECT (file, endpoint) FROM ends
        WHERE kind = 'name' AND endpoint <> ''))
GROUP BY file, kind, endpoint ORDER BY file, kind, bytes DESC, endpoint
"""
"""SQL of the endpoints; the version of the files is a hash of it."""

_PRIVATE_SUFFIXES = (
    "local localhost localdomain lan home home.arpa internal intranet private corp "
    "test example invalid onion alt"
).split()
_PRIVATE = tuple(f".{suffix}" for suffix in _PRIVATE_SUFFIXES)
"""Ends of names in private networks. No provider knows them, and none should see them."""

_TOTALS = """
SELECT file, sum(packets)::BIGINT, sum(bytes)::BIGINT, min(first_us), max(last_us)
FROM conversations GROUP BY file
"""
_SKIPPED = """
SELECT file, skipped, sum(packets)::BIGINT
FROM conversations WHERE skipped IS NOT NULL GROUP BY file, skipped
"""
_NOTHING = (0, 0, None, None)
_SUMMARY = b"mt_pipeline"  # key of the summary in the metadata of the file


@dataclass(frozen=True)
class Endpoints:
    """A summary of a capture.

    Attributes:
        addresses: count of distinct public addresses.
        names: count of distinct server names that a provider may be asked about.
        packets: count of packets.
        bytes: length of the packets on the wire.
        first_us: microseconds since 1970 of the earliest packet with a time; None without one.
        last_us: the same of the latest.
        skipped: count of packets that cannot be stored, by reason.
        top_names: at most ten names with the most bytes, and these bytes.
    """

    addresses: int
    names: int
    packets: int
    bytes: int
    first_us: int | None
    last_us: int | None
    skipped: dict[str, int]
    top_names: list[tuple[str, int]]


def is_askable(name: str) -> bool:
    """Return whether a name may be public.

    Args:
        name: in lower case, without a trailing dot.
    """
    return _NAME.match(name) is not None and not name.endswith(_PRIVATE)


@dataclass(frozen=True)
class Found:
    """The endpoints of a capture.

    Attributes:
        table: with SCHEMA, those with the most bytes first.
        summary: what the file of endpoints also says.
    """

    table: pa.Table
    summary: Endpoints

    def write(self, output: Path) -> None:
        """Write Parquet; it appears when it is complete."""
        stored = {_SUMMARY: json.dumps(asdict(self.summary))}
        with whole(output) as partial:
            pyarrow.parquet.write_table(
                self.table.replace_schema_metadata(stored), partial, compression="zstd"
            )


def found(tables: Tables, files: int = 1) -> list[Found]:
    """Return the endpoints of each capture, by its number.

    Args:
        tables: all of the captures.
        files: how many they are.
    """
    tables.flush()
    query = tables.connection.sql
    parts = by_file(query(ENDPOINTS).to_arrow_table(), files)
    totals = {file: total for file, *total in query(_TOTALS).fetchall()}
    skipped: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for file, reason, packets in query(_SKIPPED).fetchall():
        skipped[file][reason] = packets
    return [
        _found(part.cast(SCHEMA), totals.get(file, _NOTHING), skipped[file])
        for file, part in enumerate(parts)
    ]


def write(conversations: Conversations, output: Path) -> Endpoints:
    """Write the endpoints of a capture.

    Args:
        conversations: all of the capture.
        output: Parquet with SCHEMA; it appears when it is complete.

    Returns:
        The summary, which is also in the file.
    """
    [capture] = found(conversations.tables)
    capture.write(output)
    return capture.summary


def _found(table: pa.Table, total: Sequence[int | None], skipped: dict[str, int]) -> Found:
    is_eligible = [
        is_public(endpoint) if kind == "address" else is_askable(endpoint)
        for kind, endpoint in zip(
            table["kind"].to_pylist(), table["endpoint"].to_pylist(), strict=True
        )
    ]
    table = table.filter(pa.array(is_eligible, pa.bool_()))
    addresses, names = (
        table.filter(pyarrow.compute.equal(table["kind"], kind)) for kind in ("address", "name")
    )
    packets, length, first_us, last_us = total
    summary = Endpoints(
        addresses=addresses.num_rows,
        names=names.num_rows,
        packets=packets or 0,
        bytes=length or 0,
        first_us=first_us,
        last_us=last_us,
        skipped=skipped,
        top_names=list(
            zip(names["endpoint"].to_pylist()[:10], names["bytes"].to_pylist()[:10], strict=True)
        ),
    )
    return Found(table, summary)


def summary(path: Path) -> Endpoints:
    """Return the summary of a capture from its file of endpoints."""
    stored = json.loads(pyarrow.parquet.read_schema(path).metadata[_SUMMARY])
    return Endpoints(**{**stored, "top_names": [tuple(name) for name in stored["top_names"]]})
