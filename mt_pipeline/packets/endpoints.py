"""The distinct endpoints of a capture: its public addresses, and names of remote ends.

Names are those that TLS and QUIC say, and apart from these the other names that remote ends may
have: hosts of HTTP, and what DNS answered about addresses of the capture. Each comes with its
packets, bytes and times. What endpoints are is the enrichment room's business.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.packets.names import http_host_name
from mt_pipeline.packets.reachability import is_public
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
    SELECT arg_max(sni, sni_number) AS endpoint,
        arg_min(http_host, first_us) FILTER (http_host IS NOT NULL) AS http_host,
        sum(packets) AS packets, sum(bytes) AS bytes,
        min(first_us) AS first_us, max(last_us) AS last_us
    FROM conversations WHERE stream_index IS NOT NULL GROUP BY is_tcp, stream_index),
ends AS (
    SELECT 'address' AS kind, unnest(list_distinct([address_src, address_dst])) AS endpoint,
        packets, bytes, first_us, last_us FROM conversations
    UNION ALL
    SELECT 'name', rtrim(lower(endpoint), '.'), packets, bytes, first_us, last_us FROM streams),
named AS (
    FROM ends
    UNION ALL
    SELECT '{REMOTE_NAME}', {http_host_name("http_host")}, packets, bytes, first_us, last_us
    FROM streams
    UNION ALL
    SELECT '{REMOTE_NAME}', name, packets, bytes, first_us, last_us
    FROM ends JOIN (SELECT DISTINCT name, address FROM lookups) answered
        ON ends.endpoint = answered.address AND ends.kind = 'address')
SELECT kind, endpoint, sum(packets)::BIGINT AS packets, sum(bytes)::BIGINT AS bytes,
    make_timestamptz(min(first_us)) AS first_seen, make_timestamptz(max(last_us)) AS last_seen
FROM named WHERE endpoint <> '' AND NOT (kind = '{REMOTE_NAME}'
    AND endpoint IN (SELECT endpoint FROM ends WHERE kind = 'name' AND endpoint <> ''))
GROUP BY kind, endpoint ORDER BY kind, bytes DESC, endpoint
"""
"""SQL of the endpoints; the version of the files is a hash of it."""

_PRIVATE_SUFFIXES = (
    "local localhost localdomain lan home home.arpa internal intranet private corp "
    "test example invalid onion alt"
).split()
_PRIVATE = tuple(f".{suffix}" for suffix in _PRIVATE_SUFFIXES)
"""Ends of names in private networks. No provider knows them, and none should see them."""

_TOTAL = """
SELECT coalesce(sum(packets), 0)::BIGINT, coalesce(sum(bytes), 0)::BIGINT,
    min(first_us), max(last_us)
FROM conversations
"""
_SKIPPED = (
    "SELECT skipped, sum(packets)::BIGINT FROM conversations WHERE skipped IS NOT NULL GROUP BY 1"
)
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


def write(conversations: Conversations, output: Path) -> Endpoints:
    """Write the endpoints of a capture, those with the most bytes first.

    Args:
        conversations: all of the capture.
        output: Parquet with SCHEMA; it appears when it is complete.

    Returns:
        The summary, which is also in the file.
    """
    conversations.flush()
    table = conversations.connection.sql(ENDPOINTS).to_arrow_table().cast(SCHEMA)
    [(packets, length, first_us, last_us)] = conversations.connection.sql(_TOTAL).fetchall()
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
    summary = Endpoints(
        addresses=addresses.num_rows,
        names=names.num_rows,
        packets=packets,
        bytes=length,
        first_us=first_us,
        last_us=last_us,
        skipped=dict(conversations.connection.sql(_SKIPPED).fetchall()),
        top_names=list(
            zip(names["endpoint"].to_pylist()[:10], names["bytes"].to_pylist()[:10], strict=True)
        ),
    )
    with whole(output) as partial:
        pyarrow.parquet.write_table(
            table.replace_schema_metadata({_SUMMARY: json.dumps(asdict(summary))}),
            partial,
            compression="zstd",
        )
    return summary


def summary(path: Path) -> Endpoints:
    """Return the summary of a capture from its file of endpoints."""
    stored = json.loads(pyarrow.parquet.read_schema(path).metadata[_SUMMARY])
    return Endpoints(**{**stored, "top_names": [tuple(name) for name in stored["top_names"]]})
