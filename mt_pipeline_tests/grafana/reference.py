"""Packets, flows and loads of experiments without QuestDB.

They come from the files of the data folder, the ledger and Dagster. `flow_reference.py` counts the
flows in plain Python. `expected.py` has the results of the panels.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.captures.naming import label_of
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.packets import typed
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS, ORIGINAL_COLUMNS, Column, Origin
from mt_pipeline_tests import flow_reference
from mt_pipeline_tests.grafana.choices import Choice, Row
from mt_pipeline_tests.grafana.loaded import DEVICES
from mt_pipeline_tests.pipelines import STAGES, Lab, Ran

_KINDS = {
    "SYMBOL": pa.string(),
    "VARCHAR": pa.string(),
    "IPV4": pa.string(),
    "INT": pa.int64(),
    "LONG": pa.int64(),
    "DOUBLE": pa.float64(),
}
_TIME = pa.timestamp("us")


def _schema(columns: Iterable[tuple[str, str]]) -> pa.Schema:
    return pa.schema([(name, _KINDS.get(kind, _TIME)) for name, kind in columns])


PACKETS = _schema((column.name, column.type) for column in COLUMNS)
FLOWS = _schema((column.name, column.type) for column in FLOW_COLUMNS)
LOADS = _schema(
    [
        *(
            ("ts", "TIMESTAMP"),
            ("capture", "SYMBOL"),
            ("experiment", "SYMBOL"),
            ("state", "SYMBOL"),
            ("error", "VARCHAR"),
            ("run", "VARCHAR"),
        ),
        *(
            (name, "LONG")
            for name in ("packets", "rows", "skipped", "size", "flows", "bytes", "endpoints")
        ),
        *((f"seconds_{name}", "DOUBLE") for name in ("tshark", "endpoints", "enrichment", "load")),
        *(("first_packet", "TIMESTAMP"), ("last_packet", "TIMESTAMP")),
    ]
)


def packets(lab: Lab, key: str) -> list[Row]:
    """Return the packets of a capture joined with the answers; 0.0.0.0 is still there."""
    record = lab.record(key)
    files = CaptureFiles(lab.data, key)
    chosen = ", ".join(f"{_source(column)} AS {column.name}" for column in COLUMNS)
    with typed.connection(files.packets(record.documents)) as opened:
        opened.register(
            "p",
            typed.rows(
                opened, files.packets(record.documents), files.names(record.documents)
            ).to_arrow_table(),
        )
        opened.register("answers", pyarrow.parquet.read_table(files.enrichment(record.documents)))
        found = opened.sql(
            f"""SELECT {chosen}, p.skipped FROM p
            LEFT JOIN answers src ON src.kind = 'address' AND src.endpoint = p.address_src
            LEFT JOIN answers dst ON dst.kind = 'address' AND dst.endpoint = p.address_dst
            LEFT JOIN answers sni
                ON sni.kind = 'name' AND sni.endpoint = rtrim(lower(p.tls_sni), '.')""",
            params={"capture": key, "experiment": record.experiment, "label": label_of(key)},
        )
        return [row for row in found.to_arrow_table().to_pylist() if row["skipped"] is None]


def _source(column: Column) -> str:
    end, _, field = column.source.partition(".")
    if column.origin is Origin.CAPTURE:
        return f"${column.name}"
    if column.origin is Origin.DEVICE:
        known = " ".join(
            f"WHEN '{address}' THEN '{device.replace(chr(39), 2 * chr(39))}'"
            for address, device in DEVICES.items()
        )
        return f"CASE p.address_{column.source} {known} END"
    if column.origin is not Origin.ANSWER:
        return f"p.{column.name}"
    if field == "type":
        return (
            f"CASE WHEN {end}.endpoint IS NOT NULL THEN 'PUBLIC' "
            f"WHEN p.address_{end} IS NOT NULL THEN 'LOCAL' ELSE 'Unknown' END"
        )
    return (
        f"coalesce({end}.{field}, 'Unknown')"
        if column in ORIGINAL_COLUMNS and column.type == "SYMBOL"
        else f"{end}.{field}"
    )


class Reference:
    """Packets, flows and loads of some captures."""

    def __init__(self, lab: Lab, ran: Ran, keys: Sequence[str], failed: Sequence[str]) -> None:
        """Read the files; `ran` loaded the captures `keys`, and those of `failed` failed."""
        self.packets: list[Row] = []
        self.flows: list[Row] = []
        self.loads: list[Row] = []
        for key in keys:
            found = packets(lab, key)
            record = lab.record(key)
            files = CaptureFiles(lab.data, key).sources(record.documents)
            lookups, answers = (
                pyarrow.parquet.read_table(path).to_pylist()
                for path in (files.said.lookups, files.answers)
            )
            counted = flow_reference.flows(found, lookups, answers, flow_reference.said(files))
            self.flows += _with_owners(counted)
            self.packets += [_without_zero_addresses(row) for row in found]
            seconds = {
                f"seconds_{name}": ran.metadata(stage, key)["seconds"]
                for name, stage in zip(_STAGES, STAGES, strict=True)
            }
            times = [row["ts"] for row in found]
            sums = {
                "packets": record.packets,
                "rows": len(found),
                "skipped": (record.packets or 0) - len(found),
                "flows": len(counted),
            }
            length = {
                "bytes": sum(row["frame_len"] for row in found),
                "first_packet": min(times),
                "last_packet": max(times),
            }
            endpoints = {"endpoints": ran.metadata("netify_enrichment", key)["dagster/row_count"]}
            self.loads.append({**_load(lab, key), **sums, **length, **seconds, **endpoints})
        self.loads += [_load(lab, key) for key in failed]

    def of(self, choice: Choice) -> duckdb.DuckDBPyConnection:
        """Open a database of a choice; NULL sorts first, as in QuestDB. The caller closes it."""
        tables = {
            "p": (self.packets, PACKETS, choice.packets),
            "f": (self.flows, FLOWS, choice.flows),
            "every": (self.flows, FLOWS, choice.every),
            "whole": (self.flows, FLOWS, choice.of_experiment),
            "loads": (self.loads, LOADS, choice.of_experiment),
        }
        chosen = duckdb.connect()
        chosen.execute("SET default_null_order = 'nulls_first'; SET threads = 1")
        for name, (rows, schema, selects) in tables.items():
            chosen.register(
                name, pa.Table.from_pylist([row for row in rows if selects(row)], schema=schema)
            )
        return chosen


def _with_owners(flows: list[Row]) -> list[Row]:
    """Return flows with the organisation that runs the remote end."""
    public = [
        flow["remote"] if flow["direction"] in ("outside", "transit") else None for flow in flows
    ]
    found = Networks().look_up(pa.array(public, pa.string()))["organisation"].to_pylist()
    return [
        {**flow, "remote_organisation": organisation}
        for flow, organisation in zip(flows, found, strict=True)
    ]


def _without_zero_addresses(row: Row) -> Row:
    """Return a row with NULL for 0.0.0.0, which is how QuestDB stores it."""
    zeros = {name: None for name in ("ip_src", "ip_dst") if row[name] == "0.0.0.0"}  # noqa: S104
    return {**row, **zeros}


_STAGES = ("tshark", "endpoints", "enrichment", "load")


def _load(lab: Lab, key: str) -> Row:
    record = lab.record(key)
    values = {name: getattr(record, name) for name in ("experiment", "error", "run", "size")}
    return {
        "ts": datetime.fromtimestamp(record.changed_at, UTC).replace(tzinfo=None),
        "capture": key,
        "state": record.state.value,
        **values,
    }
