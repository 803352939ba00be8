"""The distinct endpoints of a capture: its public addresses and its TLS server names, with how much of the traffic each has."""

import ipaddress
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.system.atomic import whole

SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string()),  # "address" or "name"
        pa.field("endpoint", pa.string()),
        pa.field("packets", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("first_seen", pa.timestamp("us", tz="UTC")),
        pa.field("last_seen", pa.timestamp("us", tz="UTC")),
    ]
)

# Letters, digits, hyphens and underscores in labels of at most 63, two labels at least, the last not all digits.
_NAME = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!\d+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])\Z"
)

# A name counts all packets of its streams. An address counts each packet once, also one from itself to itself.
_ENDPOINTS = """
WITH streams AS (
    SELECT arg_max(sni, sni_number) AS endpoint, sum(packets) AS packets, sum(bytes) AS bytes, min(first_us) AS first_us, max(last_us) AS last_us
    FROM conversations WHERE stream_index IS NOT NULL GROUP BY is_tcp, stream_index),
ends AS (
    SELECT 'address' AS kind, unnest(list_distinct([address_src, address_dst])) AS endpoint, packets, bytes, first_us, last_us FROM conversations
    UNION ALL
    SELECT 'name', rtrim(lower(endpoint), '.'), packets, bytes, first_us, last_us FROM streams)
SELECT kind, endpoint, sum(packets)::BIGINT AS packets, sum(bytes)::BIGINT AS bytes,
    make_timestamptz(min(first_us)) AS first_seen, make_timestamptz(max(last_us)) AS last_seen
FROM ends WHERE endpoint <> '' GROUP BY kind, endpoint ORDER BY kind, bytes DESC, endpoint
"""


# Names of networks at home and at work, which nobody outside can know and nobody outside should read.
_PRIVATE = tuple(
    f".{suffix}"
    for suffix in "local localhost localdomain lan home home.arpa internal intranet private corp test example invalid onion alt".split()
)
_TOTAL = "SELECT coalesce(sum(packets), 0)::BIGINT, coalesce(sum(bytes), 0)::BIGINT, min(first_us), max(last_us) FROM conversations"
_SKIPPED = (
    "SELECT skipped, sum(packets)::BIGINT FROM conversations WHERE skipped IS NOT NULL GROUP BY 1"
)
_SUMMARY = b"mt_pipeline"  # key of the summary in the metadata of the file


@dataclass(frozen=True)
class Endpoints:
    """What a capture holds.

    Attributes:
        addresses: distinct public addresses.
        names: distinct server names that can be asked.
        packets: packets in the documents.
        bytes: their length on the wire.
        first_us: time of the earliest packet that can be stored, microseconds since 1970; None without packets.
        last_us: time of the latest.
        skipped: packets that cannot be stored, by reason.
        top_names: the names with the most bytes, at most ten, with these.
    """

    addresses: int
    names: int
    packets: int
    bytes: int
    first_us: int | None
    last_us: int | None
    skipped: dict[str, int]
    top_names: list[tuple[str, int]]


def is_public(address: str) -> bool:
    """Say whether an address is globally reachable, multicast excluded: only such are ever asked."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    # An IPv4 address in the form of IPv6 is for a machine's own use; Python takes it for reachable if the IPv4 address is.
    mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None
    return parsed.is_global and not parsed.is_multicast and not mapped


def is_askable(name: str) -> bool:
    """Say whether a server name, lower-cased and without its last dot, could be a name that the world knows."""
    return _NAME.match(name) is not None and not name.endswith(_PRIVATE)


def write(conversations: Conversations, output: Path) -> Endpoints:
    """Write the endpoints of a capture as Parquet with SCHEMA, most bytes first; the file appears only when whole."""
    table = conversations.connection.sql(_ENDPOINTS).to_arrow_table().cast(SCHEMA)
    [(packets, length, first_us, last_us)] = conversations.connection.sql(_TOTAL).fetchall()
    asked = [
        is_public(endpoint) if kind == "address" else is_askable(endpoint)
        for kind, endpoint in zip(
            table["kind"].to_pylist(), table["endpoint"].to_pylist(), strict=True
        )
    ]
    table = table.filter(pa.array(asked, pa.bool_()))
    names = table.filter(pyarrow.compute.equal(table["kind"], "name"))
    summary = Endpoints(
        addresses=table.num_rows - names.num_rows,
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
    """Read what `write` said of a capture from its file of endpoints."""
    stored = json.loads(pyarrow.parquet.read_schema(path).metadata[_SUMMARY])
    return Endpoints(**{**stored, "top_names": [tuple(name) for name in stored["top_names"]]})
