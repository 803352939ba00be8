"""Copies what the ledger says of a capture into the table `captures`, for people who ask QuestDB. The ledger stays the truth."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from mt_pipeline.backends.loads import BackendError, Stored
from mt_pipeline.backends.questdb import captures_table, locks
from mt_pipeline.backends.questdb.captures_table import Value
from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.pipeline.workspace import Workspace

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
    """Add the verdict on a capture to `captures`; if that cannot be done, a warning says so, and nothing else happens. Without QuestDB nothing does.

    Args:
        workspace: the data folder.
        key: the capture key; one without a record is passed over.
        stored: what QuestDB holds of it, after a load.
        counts: what became of its endpoints, if somebody looked.
        seconds: time taken by the stages that were done, by asset.
        tshark: version of the tshark of its documents, if it is known.
    """
    record = workspace.ledger.get(key)
    if record is None or not workspace.options.has_questdb:
        return
    taken: dict[str, Value] = {
        _SECONDS[asset]: duration for asset, duration in (seconds or {}).items()
    }
    calls = providers.calls(workspace.options)
    with _warned(key):
        row = {
            **_of_record(record),
            **_of_load(record, stored),
            **_of_answers(counts),
            **calls,
            **taken,
            "tshark_version": tshark,
        }
        with locks.shared(workspace.loading_lock):
            captures_table.add(workspace.database(), row)


def update_owed(workspace: Workspace, record: Record, owed: int) -> None:
    """Correct what is owed for the last load of a capture, if that is another number now: it was refreshed, and not loaded again."""
    if record.owed != owed and workspace.options.has_questdb:
        with _warned(record.key), locks.shared(workspace.loading_lock):
            captures_table.update_owed(
                workspace.database(), record.key, loaded_at=_time(record), owed=owed
            )


@contextmanager
def _warned(key: str) -> Iterator[None]:
    try:
        yield
    except (BackendError, psycopg.Error, OSError, UnicodeError) as error:
        log.warning("%s: not noted in QuestDB's table captures: %s", key, error)


def _time(record: Record) -> datetime:
    return datetime.fromtimestamp(record.changed_at, UTC)


def _of_record(record: Record) -> dict[str, Value]:
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


def _of_load(record: Record, stored: Stored | None) -> dict[str, Value]:
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
        "owed": record.owed,
    }


def _of_answers(counts: Counts | None) -> dict[str, Value]:
    if counts is None:
        return {}
    return {
        "endpoints": counts.endpoints,
        "cache_hits": counts.cached,
        "calls": counts.asked,
        "pending": counts.pending,
    }
