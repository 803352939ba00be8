"""The tables that flows are made of, in DuckDB: sums by second, conversations, answers.

Several small captures share them, as each statement costs as much as thousands of packets. The
column `file` tells captures apart: the place of their files in each list.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.enrichment import protocols
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.packets import typed
from mt_pipeline.packets.names import host_name, http_host_name
from mt_pipeline.packets.sums import ATTRIBUTES, KEY, PARTS_OF_AN_END, chosen
from mt_pipeline.rows.connections import (
    CONNECTION,
    HANDSHAKE_MS,
    HTTP_METHOD,
    TCP_STATE,
    TLS_VERSION,
)
from mt_pipeline.rows.remote_names import ANSWERED, NAMED
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.packets import UNKNOWN

_STREAM_NAMES = {
    "tls_sni": "coalesce(names.tls_sni, first_sni)",
    "tls_alpn": "coalesce(names.tls_alpn, first_alpn)",
}
TEXTS = {name: f"nullif({sql}, '{UNKNOWN}')" for name, sql in _STREAM_NAMES.items()} | {
    "dns_name": "dns_name",
    "http_host": "http_host",
}
"""Text of a flow: the first that is not NULL. SQL over `sums` and `names`."""

_TRANSPORTS = "('tcp', 'udp', 'udplite')"
_ENDS = (*PARTS_OF_AN_END, *ATTRIBUTES, "is_public")
_FIRST_ATTRIBUTES = ", ".join(
    f"arg_min({end}_{part}, first_frame) FILTER ({end}_{part} IS NOT NULL) AS {end}_{part}"
    for part in ATTRIBUTES
    for end in "ab"
)

# QuestDB stores no NUL in a symbol.
_TEXT_COLUMNS = ",\n    ".join(
    f"nullif(replace({sql}, chr(0), ''), '') AS {name}" for name, sql in TEXTS.items()
)
_SUMS = f"""
SELECT sums.* EXCLUDE (dns_name, http_host) REPLACE (nullif(ip_proto, '{UNKNOWN}') AS ip_proto),
    sums.file_index::INTEGER AS file,
    {_TEXT_COLUMNS}
FROM {{}} sums
LEFT JOIN {{}} names ON names.stream_index = sums.stream_index
    AND names.is_tcp = sums.is_tcp AND names.file_index = sums.file_index
WHERE skipped IS NULL
"""

# An address is public if it has an answer: the endpoints of a capture are exactly its public
# addresses (packets/endpoints.py).
_CONVERSATIONS = f"""
WITH grouped AS (
    SELECT file, {", ".join(KEY)}, min(first_frame) AS conversation,
        {_FIRST_ATTRIBUTES},
        arg_min(turned, first_frame) AS turned, min(second) AS since, max(second) AS until,
        epoch_us(min(first_ts)) AS began_us,
        {CONNECTION},
        {host_name("arg_min(tls_sni, first_frame) FILTER (tls_sni IS NOT NULL)")} AS sni,
        {http_host_name("arg_min(http_host, first_frame) FILTER (http_host IS NOT NULL)")} AS host
    FROM sums GROUP BY ALL),
counted AS (
    SELECT file_index::INTEGER AS file, nullif(ip_proto, '{UNKNOWN}') AS ip_proto, stream_index,
        protocol, count(*) AS packets
    FROM read_parquet($packets) WHERE skipped IS NULL AND stream_index IS NOT NULL GROUP BY ALL),
spoken AS (
    SELECT file, ip_proto, stream_index,
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
    LEFT JOIN answers a
        ON a.kind = 'address' AND a.endpoint = grouped.a_address AND a.file = grouped.file
    LEFT JOIN answers b
        ON b.kind = 'address' AND b.endpoint = grouped.b_address AND b.file = grouped.file
    LEFT JOIN spoken ON spoken.stream_index = grouped.stream_index AND spoken.file = grouped.file
        AND spoken.ip_proto IS NOT DISTINCT FROM grouped.ip_proto)
SELECT *, {TCP_STATE} AS tcp_state, {HANDSHAKE_MS} AS handshake_ms, {TLS_VERSION} AS tls_version,
    {HTTP_METHOD} AS http_method,
    {chosen(_ENDS, "a_is_local", "a_{}", "b_{}", "local_{}")},
    {chosen(_ENDS, "a_is_local", "b_{}", "a_{}", "remote_{}")}
FROM sided
"""

_INSPECTIONS = """
CREATE TEMP TABLE inspections AS
SELECT c.conversation, i.* FROM conversations c JOIN inspected i
    ON i.file = c.file AND i.a_address = c.a_address AND i.a_port = coalesce(c.a_port, 0)
    AND i.b_address = c.b_address AND i.b_port = coalesce(c.b_port, 0)
    AND i.ip_proto = c.ip_proto
"""


@contextmanager
def opened(captures: Sequence[Sources]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database with the sums, the answers and the conversations of captures."""
    with typed.connection(captures[0].sums) as connection:
        sums = typed.parquet(*(sources.sums for sources in captures))
        names = typed.parquet(*(sources.names for sources in captures))
        connection.execute(f"CREATE TEMP VIEW sums AS {_SUMS.format(sums, names)}")
        answers = [_answers(sources.answers, file) for file, sources in enumerate(captures)]
        connection.register("answers", pa.concat_tables(answers))
        packets = [str(sources.packets) for sources in captures]
        connection.execute(f"CREATE TEMP TABLE placed AS {_CONVERSATIONS}", {"packets": packets})
        lookups = [str(sources.said.lookups) for sources in captures]
        connection.execute(ANSWERED, {"lookups": lookups})
        certificates = [str(sources.said.certificates) for sources in captures]
        connection.execute(
            f"CREATE TEMP TABLE conversations AS {NAMED}", {"certificates": certificates}
        )
        connection.execute("DROP TABLE placed")
        connection.register("no_inspections", inspections.SCHEMA.empty_table())
        connection.execute(f"CREATE TEMP VIEW inspected AS {_inspected(captures)}")
        connection.execute(_INSPECTIONS)
        connection.register("protocols", protocols.applications())
        yield connection


def _inspected(captures: Sequence[Sources]) -> str:
    """Build the SQL of what nDPI found in each capture, if it was asked."""
    found = [
        f"SELECT *, {file} AS file FROM {typed.parquet(sources.inspections)}"
        for file, sources in enumerate(captures)
        if sources.inspections
    ]
    return " UNION ALL ".join(found or ["SELECT *, 0 AS file FROM no_inspections"])


def _answers(path: Path, file: int) -> pa.Table:
    """Read the answers without NUL, which QuestDB stores in no symbol."""
    answers = pyarrow.parquet.read_table(path)
    for index, field in enumerate(answers.schema):
        if pa.types.is_string(field.type):
            answers = answers.set_column(
                index, field, pc.replace_substring(answers[field.name], "\0", "")
            )
    return answers.append_column("file", pa.array([file] * answers.num_rows, pa.int32()))
