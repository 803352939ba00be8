"""The flows of a capture: rows with the columns of `schema/flows.py`.

`packets/conversations.py` sums up packets by second and conversation. This module adds up
these sums and joins them with the answers. It works on one stretch of time after another, so
that memory does not grow with the capture.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.captures.naming import label_of
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment import protocols
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.packets import typed
from mt_pipeline.packets.names import host_name, http_host_name
from mt_pipeline.packets.sums import ATTRIBUTES, KEY, PARTS_OF_AN_END, chosen
from mt_pipeline.rows.connections import CONNECTION, HANDSHAKE_MS, TCP_STATE, TLS_VERSION
from mt_pipeline.rows.flow_ends import complete
from mt_pipeline.rows.packets import joined
from mt_pipeline.rows.remote_names import ANSWERED, NAMED
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import UNKNOWN

STRETCH = 25_000
"""Sums processed at once, rounded to whole seconds. Four times as many need 100 MB more."""

_BATCH = 25_000
"""Flows in a batch, rounded to whole stretches. See `packets.BATCH` for the reason."""

_ALL_TIME = (0, 1 << 40)
"""First and last second that can be stored."""

_STREAM_NAMES = {
    "tls_sni": "coalesce(names.tls_sni, first_sni)",
    "tls_alpn": "coalesce(names.tls_alpn, first_alpn)",
}
_TEXTS = {name: f"nullif({sql}, '{UNKNOWN}')" for name, sql in _STREAM_NAMES.items()} | {
    "dns_name": "dns_name",
    "http_host": "http_host",
}
_TRANSPORTS = "('tcp', 'udp', 'udplite')"
_ENDS = (*PARTS_OF_AN_END, *ATTRIBUTES, "is_public")
_FIRST_ATTRIBUTES = ", ".join(
    f"arg_min({end}_{part}, first_frame) FILTER ({end}_{part} IS NOT NULL) AS {end}_{part}"
    for part in ATTRIBUTES
    for end in "ab"
)

# QuestDB stores no NUL in a symbol.
_TEXT_COLUMNS = ",\n    ".join(
    f"nullif(replace({sql}, chr(0), ''), '') AS {name}" for name, sql in _TEXTS.items()
)
_SUMS = f"""
SELECT sums.* EXCLUDE (dns_name, http_host) REPLACE (nullif(ip_proto, '{UNKNOWN}') AS ip_proto),
    {_TEXT_COLUMNS}
FROM read_parquet({{}}) sums
LEFT JOIN read_parquet({{}}) names
    ON names.stream_index = sums.stream_index AND names.is_tcp = sums.is_tcp
WHERE skipped IS NULL
"""

# An address is public if it has an answer: the endpoints of a capture are exactly its public
# addresses (packets/endpoints.py).
_CONVERSATIONS = f"""
WITH grouped AS (
    SELECT {", ".join(KEY)}, min(first_frame) AS conversation,
        {_FIRST_ATTRIBUTES},
        arg_min(turned, first_frame) AS turned, min(second) AS since, max(second) AS until,
        epoch_us(min(first_ts)) AS began_us,
        {CONNECTION},
        {host_name("arg_min(tls_sni, first_frame) FILTER (tls_sni IS NOT NULL)")} AS sni,
        {http_host_name("arg_min(http_host, first_frame) FILTER (http_host IS NOT NULL)")} AS host
    FROM sums GROUP BY ALL),
counted AS (
    SELECT nullif(ip_proto, '{UNKNOWN}') AS ip_proto, stream_index, protocol, count(*) AS packets
    FROM read_parquet($packets) WHERE skipped IS NULL AND stream_index IS NOT NULL GROUP BY ALL),
spoken AS (
    SELECT ip_proto, stream_index,
        first(protocol ORDER BY protocol IN {_TRANSPORTS}, packets DESC, protocol) AS protocol
    FROM counted GROUP BY ALL),
sided AS (
    SELECT grouped.*, coalesce(grouped.apart, spoken.protocol) AS protocol,
        a.endpoint IS NOT NULL AS a_is_public, b.endpoint IS NOT NULL AS b_is_public,
        CASE WHEN a_is_public <> b_is_public THEN b_is_public
            WHEN a_is_public AND a_port <> b_port THEN a_port > b_port
            ELSE NOT turned END AS a_is_local,
        CASE WHEN a_is_local THEN b.reverse_name ELSE a.reverse_name END AS reverse_name
    FROM grouped
    LEFT JOIN answers a ON a.kind = 'address' AND a.endpoint = grouped.a_address
    LEFT JOIN answers b ON b.kind = 'address' AND b.endpoint = grouped.b_address
    LEFT JOIN spoken ON spoken.stream_index = grouped.stream_index
        AND spoken.ip_proto IS NOT DISTINCT FROM grouped.ip_proto)
SELECT *, {TCP_STATE} AS tcp_state, {HANDSHAKE_MS} AS handshake_ms, {TLS_VERSION} AS tls_version,
    {chosen(_ENDS, "a_is_local", "a_{}", "b_{}", "local_{}")},
    {chosen(_ENDS, "a_is_local", "b_{}", "a_{}", "remote_{}")}
FROM sided
"""

_INSPECTIONS = """
CREATE TEMP TABLE inspections AS
SELECT c.conversation, i.* FROM conversations c JOIN inspected i
    ON i.a_address = c.a_address AND i.a_port = coalesce(c.a_port, 0)
    AND i.b_address = c.b_address AND i.b_port = coalesce(c.b_port, 0)
    AND i.ip_proto = c.ip_proto
"""

_STRETCHES = """
WITH numbered AS (
    SELECT second, sum(count(*)) OVER (ORDER BY second) // $most AS stretch
    FROM sums GROUP BY second)
SELECT min(second), max(second) FROM numbered GROUP BY stretch ORDER BY stretch
"""

_SAME_CONVERSATION = " AND ".join(f"sums.{name} IS NOT DISTINCT FROM active.{name}" for name in KEY)
_FIRST_TEXTS = ",\n        ".join(
    f"arg_min({name}, first_frame) FILTER ({name} IS NOT NULL) AS {name}" for name in _TEXTS
)
_FLOW_VALUES = ",\n    ".join(f"{column.source} AS {column.name}" for column in FLOW_COLUMNS)

# Selecting the active conversations first makes the join small: few span any given stretch.
_FLOWS = f"""
WITH active AS (SELECT * FROM conversations WHERE since <= $last AND until >= $first),
counted AS (
    SELECT second, conversation,
        sum(packets_ab)::BIGINT AS packets_ab, sum(bytes_ab)::BIGINT AS bytes_ab,
        sum(packets_ba)::BIGINT AS packets_ba, sum(bytes_ba)::BIGINT AS bytes_ba,
        min(first_ts) AS first_ts, max(last_ts) AS last_ts,
        sum(retransmissions)::INTEGER AS retransmissions,
        {_FIRST_TEXTS}
    FROM sums JOIN active ON {_SAME_CONVERSATION}
    WHERE second BETWEEN $first AND $last GROUP BY ALL),
f AS (
    SELECT *, registrable_domain(tls_sni) AS tls_sni_domain,
        {chosen(("packets", "bytes"), "a_is_local", "{}_ab", "{}_ba", "{}_out")},
        {chosen(("packets", "bytes"), "a_is_local", "{}_ba", "{}_ab", "{}_in")}
    FROM counted JOIN active USING (conversation))
SELECT {_FLOW_VALUES},
    f.local_is_public, f.remote_is_public
FROM f
LEFT JOIN answers address ON address.kind = 'address' AND address.endpoint = f.remote_address
LEFT JOIN answers name ON name.kind = 'name' AND name.endpoint = rtrim(lower(f.tls_sni), '.')
LEFT JOIN answers remote
    ON remote.kind = 'name' AND remote.endpoint = f.remote_name AND f.remote_is_public
LEFT JOIN protocols protocol ON protocol.protocol = f.protocol
LEFT JOIN inspections inspected ON inspected.conversation = f.conversation
    AND NOT (inspected.is_protocol AND protocol.app_tag IS NOT NULL)
ORDER BY f.second, f.conversation
"""


def flows(
    sources: Sources,
    *,
    capture: str,
    experiment: str,
    devices: Devices | None = None,
    remote_ends: RemoteEnds | None = None,
    stretch: int = STRETCH,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the flows of a capture in the order of time.

    Args:
        sources: the Parquet files to read.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory and the devices that name themselves, if there are any.
        remote_ends: who runs the remote ends; without it, their columns are NULL.
        stretch: how many sums to process at once.

    Yields:
        Record batches with all of FLOW_COLUMNS, text as dictionaries.
    """
    pending: list[pa.RecordBatch] = []
    with _connected(sources) as connection:
        for first, last in _stretches(connection, sources.sums, stretch):
            parameters = {
                "capture": capture,
                "experiment": experiment,
                "label": label_of(capture),
                "first": first,
                "last": last,
            }
            reader = connection.sql(_FLOWS, params=parameters).to_arrow_reader(stretch)
            pending += (
                complete(batch, experiment, Devices() if devices is None else devices, remote_ends)
                for batch in reader
            )
            if sum(batch.num_rows for batch in pending) >= _BATCH:
                yield joined(pending)
                pending.clear()
    if pending:
        yield joined(pending)


def _stretches(
    connection: duckdb.DuckDBPyConnection, sums: Path, most: int
) -> list[tuple[int, int]]:
    """Divide the time of a capture: first and last second of each stretch."""
    if pyarrow.parquet.read_metadata(sums).num_rows <= most:
        return [_ALL_TIME]
    return connection.sql(_STRETCHES, params={"most": most}).fetchall()


@contextmanager
def _connected(sources: Sources) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database with the sums, the answers and the conversations."""
    with typed.connection(sources.sums) as connection:
        sums, names = (
            f"'{str(path).replace(chr(39), 2 * chr(39))}'" for path in (sources.sums, sources.names)
        )
        connection.execute(f"CREATE TEMP VIEW sums AS {_SUMS.format(sums, names)}")
        connection.register("answers", _answers(sources.answers))
        connection.execute(
            f"CREATE TEMP TABLE placed AS {_CONVERSATIONS}", {"packets": str(sources.packets)}
        )
        connection.execute(ANSWERED, {"lookups": str(sources.said.lookups)})
        connection.execute(
            f"CREATE TEMP TABLE conversations AS {NAMED}",
            {"certificates": str(sources.said.certificates)},
        )
        connection.execute("DROP TABLE placed")
        if sources.inspections:
            connection.read_parquet(str(sources.inspections)).create_view("inspected")
        else:
            connection.register("inspected", inspections.SCHEMA.empty_table())
        connection.execute(_INSPECTIONS)
        connection.register("protocols", protocols.applications())
        yield connection


def _answers(file: Path) -> pa.Table:
    """Read the answers without NUL, which QuestDB stores in no symbol."""
    answers = pyarrow.parquet.read_table(file)
    for index, field in enumerate(answers.schema):
        if pa.types.is_string(field.type):
            answers = answers.set_column(
                index, field, pc.replace_substring(answers[field.name], "\0", "")
            )
    return answers
