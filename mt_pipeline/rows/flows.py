"""The flows of a capture: the sums of its packets by second and conversation, put together and joined with the answers. Rows of `flow_columns.py`.

The sums are made with the typed packets (`packets/conversations.py`). One stretch of time is put together after the other, so that memory does
not grow with the capture.
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
from mt_pipeline.packets import typed
from mt_pipeline.packets.conversations import KEY, PARTS_OF_AN_END, chosen
from mt_pipeline.rows.packets import Sources, encoded, joined
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import UNKNOWN

_STRETCH = 25_000
"""Sums that are put together at once, as far as whole seconds allow: four times as many take 100 MB more."""

_BATCH = 25_000
"""Flows in a batch, as far as stretches allow: see `rows.BATCH`."""

_ALL_TIME = (0, 1 << 40)
"""First and last second of whatever can be stored."""

_OF_STREAM = {
    "tls_sni": "coalesce(names.tls_sni, first_sni)",
    "tls_alpn": "coalesce(names.tls_alpn, first_alpn)",
}
_TEXTS = {name: f"nullif({sql}, '{UNKNOWN}')" for name, sql in _OF_STREAM.items()} | {
    "dns_name": "dns_name",
    "http_host": "http_host",
}
_TRANSPORTS = "('tcp', 'udp', 'udplite')"
_ENDS = (*PARTS_OF_AN_END, "is_public")

# No symbol holds a NUL.
_SUMS = f"""
SELECT sums.* EXCLUDE (dns_name, http_host) REPLACE (nullif(ip_proto, '{UNKNOWN}') AS ip_proto),
    {", ".join(f"nullif(replace({sql}, chr(0), ''), '') AS {name}" for name, sql in _TEXTS.items())}
FROM read_parquet({{}}) sums LEFT JOIN read_parquet({{}}) names ON names.stream_index = sums.stream_index AND names.is_tcp = sums.is_tcp
WHERE skipped IS NULL
"""

# The endpoints of a capture are exactly its public addresses (packets/endpoints.py), so being one decides.
_CONVERSATIONS = f"""
WITH whole AS (SELECT {", ".join(KEY)}, min(first_frame) AS conversation, arg_min(turned, first_frame) AS turned,
        min(second) AS since, max(second) AS until
    FROM sums GROUP BY ALL),
counted AS (
    SELECT nullif(ip_proto, '{UNKNOWN}') AS ip_proto, stream_index, protocol, count(*) AS packets
    FROM read_parquet($packets) WHERE skipped IS NULL AND stream_index IS NOT NULL GROUP BY ALL),
spoken AS (
    SELECT ip_proto, stream_index, first(protocol ORDER BY protocol IN {_TRANSPORTS}, packets DESC, protocol) AS protocol
    FROM counted GROUP BY ALL),
placed AS (
    SELECT whole.*, coalesce(whole.apart, spoken.protocol) AS protocol, a.endpoint IS NOT NULL AS a_is_public, b.endpoint IS NOT NULL AS b_is_public,
        CASE WHEN a_is_public <> b_is_public THEN b_is_public ELSE NOT turned END AS a_is_local
    FROM whole
    LEFT JOIN answers a ON a.kind = 'address' AND a.endpoint = whole.a_address
    LEFT JOIN answers b ON b.kind = 'address' AND b.endpoint = whole.b_address
    LEFT JOIN spoken ON spoken.stream_index = whole.stream_index AND spoken.ip_proto IS NOT DISTINCT FROM whole.ip_proto)
SELECT *, {chosen(_ENDS, "a_is_local", "a_{}", "b_{}", "local_{}")}, {chosen(_ENDS, "a_is_local", "b_{}", "a_{}", "remote_{}")}
FROM placed
"""

_STRETCHES = """
SELECT min(second), max(second)
FROM (SELECT second, sum(count(*)) OVER (ORDER BY second) // $most AS stretch FROM sums GROUP BY second) GROUP BY stretch ORDER BY stretch
"""

# Of all conversations few are under way in a stretch.
_FLOWS = f"""
WITH active AS (SELECT * FROM conversations WHERE since <= $last AND until >= $first),
counted AS (
    SELECT second, conversation,
        sum(packets_ab)::BIGINT AS packets_ab, sum(bytes_ab)::BIGINT AS bytes_ab,
        sum(packets_ba)::BIGINT AS packets_ba, sum(bytes_ba)::BIGINT AS bytes_ba, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
        {", ".join(f"arg_min({name}, first_frame) FILTER ({name} IS NOT NULL) AS {name}" for name in _TEXTS)}
    FROM sums JOIN active ON {" AND ".join(f"sums.{name} IS NOT DISTINCT FROM active.{name}" for name in KEY)}
    WHERE second BETWEEN $first AND $last GROUP BY ALL),
f AS (
    SELECT *, registrable_domain(tls_sni) AS tls_sni_domain, {chosen(("packets", "bytes"), "a_is_local", "{}_ab", "{}_ba", "{}_out")},
        {chosen(("packets", "bytes"), "a_is_local", "{}_ba", "{}_ab", "{}_in")}
    FROM counted JOIN active USING (conversation))
SELECT {", ".join(f"{column.source} AS {column.name}" for column in FLOW_COLUMNS)}, f.local_is_public, f.remote_is_public
FROM f
LEFT JOIN answers address ON address.kind = 'address' AND address.endpoint = f.remote_address
LEFT JOIN answers name ON name.kind = 'name' AND name.endpoint = rtrim(lower(f.tls_sni), '.')
ORDER BY f.second, f.conversation
"""


def flows(
    sources: Sources, *, capture: str, experiment: str, devices: Devices | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Make the flows of a capture, in the order of time; nothing is done before the first is asked for.

    Args:
        sources: all Parquet.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory, if there is one.

    Yields:
        Record batches with all of FLOW_COLUMNS, text as dictionaries.
    """
    gathered: list[pa.RecordBatch] = []
    with _opened(sources) as connection:
        for first, last in _stretches(connection, sources.sums):
            given = {
                "capture": capture,
                "experiment": experiment,
                "label": label_of(capture),
                "first": first,
                "last": last,
            }
            gathered += (
                _completed(batch, devices or Devices())
                for batch in connection.sql(_FLOWS, params=given).to_arrow_reader(_STRETCH)
            )
            if sum(batch.num_rows for batch in gathered) >= _BATCH:
                yield joined(gathered)
                gathered.clear()
    if gathered:
        yield joined(gathered)


def _stretches(connection: duckdb.DuckDBPyConnection, sums: Path) -> list[tuple[int, int]]:
    """Cut the time of a capture: first and last second of each part."""
    if pyarrow.parquet.read_metadata(sums).num_rows <= _STRETCH:
        return [_ALL_TIME]
    return connection.sql(_STRETCHES, params={"most": _STRETCH}).fetchall()


@contextmanager
def _opened(sources: Sources) -> Iterator[duckdb.DuckDBPyConnection]:
    with typed.connection(sources.sums) as connection:
        sums, names = (
            f"'{str(path).replace(chr(39), 2 * chr(39))}'" for path in (sources.sums, sources.names)
        )
        connection.execute(f"CREATE TEMP VIEW sums AS {_SUMS.format(sums, names)}")
        connection.register("answers", _answers(sources.answers))
        connection.execute(
            f"CREATE TEMP TABLE conversations AS {_CONVERSATIONS}",
            {"packets": str(sources.packets)},
        )
        yield connection


def _answers(file: Path) -> pa.Table:
    """Read the answers; no symbol holds a NUL."""
    answers = pyarrow.parquet.read_table(file)
    for place, field in enumerate(answers.schema):
        if pa.types.is_string(field.type):
            answers = answers.set_column(
                place, field, pc.replace_substring(answers[field.name], "\0", "")
            )
    return answers


def _completed(batch: pa.RecordBatch, devices: Devices) -> pa.RecordBatch:
    """Say which devices the ends are; give text as dictionaries, as the lines to QuestDB take it."""
    for end, other in (("local", "remote"), ("remote", "local")):
        serves = pc.less(batch[f"port_{end}"], batch[f"port_{other}"])
        labels = devices.of(
            hardware=batch[f"eth_{end}"],
            public=batch[f"{end}_is_public"],
            addresses=batch[end],
            names=pc.if_else(serves, batch["tls_sni"], None),
        )
        batch = batch.set_column(
            batch.schema.get_field_index(f"device_{end}"), f"device_{end}", labels
        )
    columns = [batch[column.name] for column in FLOW_COLUMNS]
    storable = [
        encoded(column) if pa.types.is_string(column.type) else column for column in columns
    ]
    return pa.RecordBatch.from_arrays(storable, [column.name for column in FLOW_COLUMNS])
