"""Copies verdicts from the ledger to QuestDB's table `captures`. The ledger stays the truth."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from mt_pipeline.backends.loads import BackendError, Stored
from mt_pipeline.backends.questdb import captures_table
from mt_pipeline.backends.questdb.captures_table import Value
from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.state.postgres import StateError

log = logging.getLogger(__name__)

_SECONDS = {
    "tshark_json": "seconds_tshark",
    "endpoints": "seconds_endpoints",
    "netify_enrichment": "seconds_enrichment",
    "questdb_packets": "seconds_load",
}


def copy(
    workspace: Workspace,
    key: str,
    *,
    stored: Stored | None = None,
    counts: Counts | None = None,
    seconds: Mapping[str, float] | None = None,
    tshark: str | None = None,
) -> None:
    """Add the verdict on a capture to the table `captures`; log a warning if that fails.

    Do nothing if the settings leave QuestDB out.

    Args:
        workspace: the data folder.
        key: the capture key; ignored if it has no record.
        stored: counts of what QuestDB stores of it; None if it was not loaded.
        counts: endpoints by the kind of their answer, if that is known.
        seconds: the time that each stage took, by asset.
        tshark: the version of tshark that made its documents, if that is known.
    """
    record = workspace.ledger.get(key)
    if record is None or not workspace.options.has_questdb:
        return
    durations: dict[str, Value] = {
        _SECONDS[asset]: duration for asset, duration in (seconds or {}).items()
    }
    calls = providers.calls(workspace.options)
    with _errors_logged(key):
        row = {
            **_record_columns(record),
            **_load_columns(record, stored),
            **_answer_columns(counts),
            **calls,
            **durations,
            "tshark_version": tshark,
        }
        with workspace.loading_lock.shared():
            captures_table.add(workspace.database(), row)


def update_owed(workspace: Workspace, record: Record, owed: int) -> None:
    """Correct the column `owed` of the last load of a capture that a refresh left unchanged."""
    if record.owed != owed and workspace.options.has_questdb:
        with _errors_logged(record.key), workspace.loading_lock.shared():
            captures_table.update_owed(
                workspace.database(), record.key, loaded_at=_time(record), owed=owed
            )


@contextmanager
def _errors_logged(key: str) -> Iterator[None]:
    try:
        yield
    except (BackendError, StateError, psycopg.Error, OSError, UnicodeError) as error:
        log.warning("%s: not noted in QuestDB's table captures: %s", key, error)


def _time(record: Record) -> datetime:
    return datetime.fromtimestamp(record.changed_at, UTC)


def _record_columns(record: Record) -> dict[str, Value]:
    return {
        "ts": _time(record),
        "capture": record.key,
        "experiment": record.experiment,
        "label": record.label,
        "state": record.state.value,
        "error": record.error,
        "path": record.path,
        "size": record.size,
        "filter": record.filter,
        "code_version": CODE_VERSIONS["questdb_packets"],
        "run": record.run,
    }


def _load_columns(record: Record, stored: Stored | None) -> dict[str, Value]:
    """Return the columns of a load. The record of a failure may have those of an earlier load."""
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
        "owed": record.owed,
    }


def _answer_columns(counts: Counts | None) -> dict[str, Value]:
    if counts is None:
        return {}
    return {
        "endpoints": counts.endpoints,
        "cache_hits": counts.cached,
        "calls": counts.asked,
        "pending": counts.pending,
    }
