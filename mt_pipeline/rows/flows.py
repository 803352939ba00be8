"""The flows of a capture: rows with the columns of `schema/flows.py`.

`packets/conversations.py` sums up packets by second and conversation. This module adds up
these sums and joins them with the answers (`flow_tables.py`). It works on one stretch of time after
another, so that memory does not grow with the capture. Small captures share the work.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.captures.naming import label_of
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.packets.sums import KEY, chosen
from mt_pipeline.rows.flow_ends import complete
from mt_pipeline.rows.flow_tables import TEXTS, opened
from mt_pipeline.rows.packets import joined
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.flows import FLOW_COLUMNS

STRETCH = 25_000
"""Sums processed at once, rounded to whole seconds. Four times as many need 100 MB more."""

_BATCH = 25_000
"""Flows in a batch, rounded to whole stretches. See `packets.BATCH` for the reason."""

_ALL_TIME = (0, 1 << 40)
"""First and last second that can be stored."""

_STRETCHES = """
WITH numbered AS (
    SELECT second, sum(count(*)) OVER (ORDER BY second) // $most AS stretch
    FROM sums GROUP BY second)
SELECT min(second), max(second) FROM numbered GROUP BY stretch ORDER BY stretch
"""

_SAME_CONVERSATION = " AND ".join(
    [
        "sums.file = active.file",
        *(f"sums.{name} IS NOT DISTINCT FROM active.{name}" for name in KEY),
    ]
)
_FIRST_TEXTS = ",\n        ".join(
    f"arg_min({name}, first_frame) FILTER ({name} IS NOT NULL) AS {name}" for name in TEXTS
)
_FLOW_VALUES = ",\n    ".join(
    f"{column.source} AS {column.name}" for column in FLOW_COLUMNS if column.source
)

# Selecting the active conversations first makes the join small: few span any given stretch.
_FLOWS = f"""
WITH active AS (SELECT * FROM conversations WHERE since <= $last AND until >= $first),
counted AS (
    SELECT sums.file, second, conversation,
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
    FROM counted JOIN active USING (file, conversation))
SELECT {_FLOW_VALUES},
    f.local_is_public, f.remote_is_public, f.file
FROM f
LEFT JOIN answers address
    ON address.kind = 'address' AND address.endpoint = f.remote_address AND address.file = f.file
LEFT JOIN answers name
    ON name.kind = 'name' AND name.endpoint = rtrim(lower(f.tls_sni), '.') AND name.file = f.file
LEFT JOIN answers remote ON remote.kind = 'name' AND remote.endpoint = f.remote_name
    AND remote.file = f.file AND f.remote_is_public
LEFT JOIN protocols protocol ON protocol.protocol = f.protocol
LEFT JOIN inspections inspected ON inspected.conversation = f.conversation
    AND inspected.file = f.file
    AND NOT (inspected.is_protocol AND protocol.app_tag IS NOT NULL)
ORDER BY f.second, f.conversation
"""


@dataclass(frozen=True)
class Captured:
    """A capture whose packets are flows.

    Attributes:
        key: the capture key.
        experiment: its experiment.
        sources: the Parquet files to read.
        devices: the inventory and the devices that name themselves.
    """

    key: str
    experiment: str
    sources: Sources
    devices: Devices = field(default_factory=Devices)


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
    captured = Captured(capture, experiment, sources, Devices() if devices is None else devices)
    pending: list[pa.RecordBatch] = []
    with opened([sources]) as connection:
        for first, last in _stretches(connection, sources.sums, stretch):
            reader = _between(connection, first, last).to_arrow_reader(stretch)
            pending += (_completed(batch, captured, remote_ends) for batch in reader)
            if sum(batch.num_rows for batch in pending) >= _BATCH:
                yield joined(pending)
                pending.clear()
    if pending:
        yield joined(pending)


def flows_together(
    captures: Sequence[Captured],
    *,
    remote_ends: RemoteEnds | None = None,
    most: int = STRETCH,
) -> list[Generator[pa.RecordBatch, None, None]]:
    """Return the flows of each capture. Those of small captures are made at once, when needed.

    Args:
        captures: whose flows.
        remote_ends: who runs the remote ends.
        most: how many sums to process at once; a capture beyond that is by itself.
    """
    shared, sums = dict[str, Sources](), 0
    for captured in captures:
        sums += pyarrow.parquet.read_metadata(captured.sources.sums).num_rows
        if sums <= most:
            shared[captured.key] = captured.sources
    files = {key: file for file, key in enumerate(shared)}

    @cache
    def made() -> pa.Table:
        with opened([*shared.values()]) as connection:
            return _between(connection).to_arrow_table()

    def of_shared(captured: Captured) -> Generator[pa.RecordBatch, None, None]:
        table = made()
        own = table.filter(pc.equal(table["file"], files[captured.key])).combine_chunks()
        for batch in own.to_batches():
            yield _completed(batch, captured, remote_ends)

    return [
        of_shared(captured)
        if len(shared) > 1 and captured.key in shared
        else flows(
            captured.sources,
            capture=captured.key,
            experiment=captured.experiment,
            devices=captured.devices,
            remote_ends=remote_ends,
        )
        for captured in captures
    ]


def _between(
    connection: duckdb.DuckDBPyConnection, first: int = _ALL_TIME[0], last: int = _ALL_TIME[1]
) -> duckdb.DuckDBPyRelation:
    """Return the flows of some seconds in the order of time; `file` says of which capture."""
    return connection.sql(_FLOWS, params={"first": first, "last": last})


def _completed(
    batch: pa.RecordBatch, captured: Captured, remote_ends: RemoteEnds | None
) -> pa.RecordBatch:
    constants = {
        "experiment": captured.experiment,
        "capture": captured.key,
        "label": label_of(captured.key),
    }
    return complete(batch, constants, captured.devices, remote_ends)


def _stretches(
    connection: duckdb.DuckDBPyConnection, sums: Path, most: int
) -> list[tuple[int, int]]:
    """Divide the time of a capture: first and last second of each stretch."""
    if pyarrow.parquet.read_metadata(sums).num_rows <= most:
        return [_ALL_TIME]
    return connection.sql(_STRETCHES, params={"most": most}).fetchall()
