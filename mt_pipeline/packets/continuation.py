"""Streams that continue in the next file of a rotation, so that they keep their names.

Only the hello of a stream carries its name, and tshark sees each file by itself. The order of the
captures is the business of `pipeline/rotation.py`.
"""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.system.atomic import whole

LIMIT_SECONDS = 300
"""A stream does not continue after a longer silence.

Most routers have forgotten it by then, and another stream may use its ports.
"""

SCHEMA = pa.schema(
    [
        ("ends", pa.string()),
        ("last_us", pa.int64()),
        ("tls_sni", pa.string()),
        ("tls_alpn", pa.string()),
    ]
)

_LIMIT_US = LIMIT_SECONDS * 1_000_000

# Both directions have the same ends. A row that was inherited has no addresses, so no ends.
_STREAMS = """
CREATE OR REPLACE TEMP TABLE streams AS
SELECT is_tcp, stream_index, min(ends) AS ends, min(first_us) AS first_us, max(last_us) AS last_us,
    arg_max(sni, sni_number) AS tls_sni, arg_max(alpn, alpn_number) AS tls_alpn
FROM (
    SELECT *,
        CASE WHEN is_tcp THEN 'tcp ' ELSE 'udp ' END
            || least(src, dst) || ' ' || greatest(src, dst) AS ends
    FROM (
        SELECT *, address_src || ' ' || port_src AS src, address_dst || ' ' || port_dst AS dst
        FROM conversations WHERE stream_index IS NOT NULL))
GROUP BY is_tcp, stream_index HAVING min(ends) IS NOT NULL
"""

# Number 0 is before the first packet: a name in this file takes precedence. Of several streams
# between two ends, the first one continues.
_TAKE_UP = f"""
INSERT INTO conversations BY NAME
SELECT 0 AS file, is_tcp, stream_index, 0 AS packets, 0 AS bytes,
    before.tls_sni AS sni, CASE WHEN before.tls_sni IS NOT NULL THEN 0 END AS sni_number,
    before.tls_alpn AS alpn, CASE WHEN before.tls_alpn IS NOT NULL THEN 0 END AS alpn_number
FROM (
    FROM streams
    QUALIFY row_number() OVER (PARTITION BY ends ORDER BY first_us, stream_index) = 1
) streams JOIN before USING (ends)
WHERE abs(streams.first_us - before.last_us) <= {_LIMIT_US}
"""

# Of several streams between two ends, the last one may continue. So may those that were silent
# throughout this file.
_LEFT = f"""
SELECT ends, last_us, tls_sni, tls_alpn FROM (
    FROM streams
    QUALIFY row_number() OVER (PARTITION BY ends ORDER BY last_us DESC, stream_index DESC) = 1
    UNION ALL BY NAME FROM before WHERE ends NOT IN (SELECT ends FROM streams))
WHERE (tls_sni IS NOT NULL OR tls_alpn IS NOT NULL)
    AND last_us >= coalesce((SELECT max(last_us) FROM conversations), 0) - {_LIMIT_US}
ORDER BY ends
"""


def take_up(conversations: Conversations, left: pa.Table) -> int:
    """Name the streams of a capture that continue from the file before.

    The names and the endpoints of the capture include these names afterwards.

    Args:
        conversations: all of the capture.
        left: the open streams of the file before, with SCHEMA.

    Returns:
        The number of streams that continue.
    """
    conversations.connection.execute(_STREAMS)
    conversations.connection.register("before", left)
    [(streams,)] = conversations.connection.execute(_TAKE_UP).fetchall()
    return int(streams)


def write_left(conversations: Conversations, output: Path, left: pa.Table | None) -> None:
    """Write the names of the streams that may continue in the next file.

    Args:
        conversations: all of the capture, after `take_up`.
        output: Parquet with SCHEMA; it appears when it is complete.
        left: the open streams of the file before; None if they are not known.
    """
    conversations.connection.execute(_STREAMS)
    conversations.connection.register("before", SCHEMA.empty_table() if left is None else left)
    table = conversations.connection.sql(_LEFT).to_arrow_table().cast(SCHEMA)
    with whole(output) as partial:
        pyarrow.parquet.write_table(table, partial, compression="zstd")


def read_left(path: Path) -> pa.Table | None:
    """Return the open streams at the end of a capture; None if the file does not exist."""
    try:
        return pyarrow.parquet.read_table(path)
    except FileNotFoundError:
        return None


def fingerprint(*paths: Path) -> str:
    """Return a hash of what a capture leaves: 12 hexadecimal digits, empty for nothing.

    Args:
        paths: its open streams, and what its packets said (`inheritance.py`).
    """
    left = [table for table in map(read_left, paths) if table]
    text = "".join(repr(table.to_pydict()) for table in left)
    return hashlib.sha256(text.encode()).hexdigest()[:12] if left else ""
