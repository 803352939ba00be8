"""Experiments and captures as tables, from the ledger: so they are the same for every back end."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from mt_pipeline.api.columns import TIME
from mt_pipeline.captures.experiments import Experiment
from mt_pipeline.captures.records import NO_FILE, Record

CAPTURES = pa.schema(
    [
        ("capture", pa.string()),
        ("experiment", pa.string()),
        ("label", pa.string()),
        ("state", pa.string()),
        ("packets", pa.int64()),
        ("rows", pa.int64()),
        ("skipped", pa.string()),
        ("cut", pa.bool_()),
        ("error", pa.string()),
        ("filter", pa.string()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("as_of", pa.string()),
        ("changed", TIME),
        ("packets_expired", TIME),
    ]
)
"""Columns of `captures`: as `mt-pipeline status --json` has them, and what made the rows."""

EXPERIMENTS = pa.schema(
    [
        ("experiment", pa.string()),
        ("captures", pa.int64()),
        ("loaded", pa.int64()),
        ("failed", pa.int64()),
        ("packets", pa.int64()),
        ("rows", pa.int64()),
    ]
)
"""Columns of `experiments`: captures by what became of them, packets read and rows stored."""


def captures_of(records: Iterable[Record]) -> pa.Table:
    """Return a row for each capture, in the order of the records."""
    return pa.Table.from_pylist([_capture(record) for record in records], schema=CAPTURES)


def experiments_of(experiments: Iterable[Experiment]) -> pa.Table:
    """Return a row for each experiment that has captures, in their order."""
    rows = [_experiment(experiment) for experiment in experiments if experiment.captures]
    return pa.Table.from_pylist(rows, schema=EXPERIMENTS)


def _capture(record: Record) -> dict[str, object]:
    return {
        "capture": record.key,
        "experiment": record.experiment,
        "label": record.label,
        "state": str(record.state),
        "packets": record.packets,
        "rows": record.rows,
        "skipped": json.dumps(dict(record.skipped)),
        "cut": record.cut,
        "error": record.error,
        "filter": record.filter,
        "path": record.path,
        "size": None if record.size == NO_FILE else record.size,
        "sha256": record.sha256,
        "as_of": record.as_of,
        "changed": _time(record.changed_at),
        "packets_expired": _time(record.packets_expired_at),
    }


def _experiment(experiment: Experiment) -> dict[str, object]:
    return {
        "experiment": experiment.name,
        "captures": experiment.captures,
        "loaded": experiment.loaded,
        "failed": experiment.failed,
        "packets": experiment.packets,
        "rows": experiment.rows,
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
