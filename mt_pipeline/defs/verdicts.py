"""Copies what the ledger says of a capture into the table `captures`, for people who ask QuestDB. The ledger stays the truth."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg

from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.defs.versions import CODE_VERSIONS
from mt_pipeline.questdb import captures
from mt_pipeline.questdb.captures import Value
from mt_pipeline.questdb.database import DatabaseError
from mt_pipeline.questdb.flow_loader import Summary

log = logging.getLogger(__name__)

_SECONDS = {
    "tshark_json": "seconds_tshark",
    "endpoints": "seconds_endpoints",
    "netify_enrichment": "seconds_enrichment",
    "questdb_packets": "seconds_load",
}


def copy(
    pipeline: Pipeline, key: str, *, stored: Summary | None = None, seconds: Mapping[str, float] | None = None, tshark: str | None = None
) -> None:
    """Add the verdict on a capture to `captures`; if that cannot be done, a warning says so, and nothing else happens. Without QuestDB nothing does.

    Args:
        pipeline: the rooms.
        key: the capture key; one without a record is passed over.
        stored: what QuestDB holds of it, after a load.
        seconds: time taken by the stages that were done, by asset.
        tshark: version of the tshark of its documents, if it is known.
    """
    record = pipeline.ledger.get(key)
    if record is None or not pipeline.settings.has_questdb:
        return
    taken: dict[str, Value] = {_SECONDS[asset]: duration for asset, duration in (seconds or {}).items()}
    try:
        captures.add(pipeline.database(), {**_of_record(record), **_of_load(record, stored), **taken, "tshark_version": tshark})
    except (DatabaseError, psycopg.Error, OSError, UnicodeError) as error:
        log.warning("%s: not noted in QuestDB's table captures: %s", key, error)


def _of_record(record: Record) -> dict[str, Value]:
    return {
        "ts": datetime.fromtimestamp(record.changed_at, UTC),
        "capture": record.key,
        "experiment": record.experiment,
        "state": record.state.value,
        "error": record.error,
        "path": record.path,
        "size": record.size,
        "filter": record.filter,
        "code_version": CODE_VERSIONS["questdb_packets"],
        "run": record.run,
    }


def _of_load(record: Record, stored: Summary | None) -> dict[str, Value]:
    """Say what a load did; a record that is not of a load may still have the numbers of the one before."""
    if record.state is not State.DONE or stored is None:
        return {}
    return {
        "packets": record.packets,
        "rows": record.rows,
        "flows": stored.flows,
        "bytes": stored.bytes,
        "skipped": sum(record.skipped.values()),
        "skipped_reasons": json.dumps(dict(record.skipped), sort_keys=True),
        "cut": record.cut,
        "first_packet": stored.first,
        "last_packet": stored.last,
        "sha256": record.sha256,
        "documents": record.documents,
    }
