"""Deletes old documents and old packets, as the settings say. Capture files stay.

Without its documents, a capture can still be refreshed from its typed packets; the next load makes
the documents again. Without its packets, a capture keeps its flows and its verdict. A refresh
leaves it alone, and `mt-pipeline ingest` loads it again.
"""

import logging
import time
from dataclasses import dataclass, field

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb.compact import compact
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline.failures import Failed, collecting
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace

log = logging.getLogger(__name__)

_DAY = 86_400
_MIN_GONE = 0.5
"""The share of a month's rows that must be deleted before the others are rewritten. A lower share
would rewrite the same rows each night."""


@dataclass
class Expired:
    """The result of a deletion.

    Attributes:
        captures: number of captures of which something was deleted.
        rows: number of packet rows that were deleted.
        bytes: bytes of files that were deleted.
        due: number of captures with something to delete.
        failures: captures for which that failed.
    """

    captures: int = 0
    rows: int = 0
    bytes: int = 0
    due: int = 0
    failures: list[Failed] = field(default_factory=list)


def documents_expired(options: Options, record: Record) -> bool:
    """Return whether the documents of a loaded capture are older than MT_KEEP_DOCUMENTS_DAYS."""
    return _is_older(record, options.keep_documents_days)


def expire_documents(workspace: Workspace) -> Expired:
    """Delete the documents that have expired; those of a capture at work stay."""
    options = workspace.options
    due = [
        record
        for record in workspace.ledger.records()
        if record.documents and documents_expired(options, record)
    ]
    expired = Expired(due=len(due))
    for record in due:
        path = CaptureFiles(options.data_dir, record.key).documents(record.documents or "")
        lock = workspace.ledger.lock(record.key)
        with (
            collecting(record.key, expired.failures, folder=options.data_dir, loads=False),
            lock as now,
        ):
            if now == record and path.exists():
                size = path.stat().st_size
                path.unlink()
                expired.captures, expired.bytes = expired.captures + 1, expired.bytes + size
    return expired


def expire_packets(workspace: Workspace) -> Expired:
    """Delete expired packets from the back ends and the disk, except of captures that change."""
    ledger, days = workspace.ledger, workspace.options.keep_packets_days
    folder = workspace.options.data_dir
    due = [
        record
        for record in ledger.records()
        if record.packets_expired_at is None and _is_older(record, days)
    ]
    expired = Expired(due=len(due))
    if not due:
        return expired
    with workspace.questdb():
        backends = workspace.backends()
        for record in due:
            with (
                collecting(record.key, expired.failures, folder=folder, loads=False),
                ledger.lock(record.key) as now,
            ):
                if now != record:
                    continue
                # The ledger comes first: else `verify` after a kill has the capture loaded again.
                ledger.expire_packets(record.key)
                expired.rows += max([backend.expire(record.key) for backend in backends])
                ledger.check(record.key)
                files = CaptureFiles(folder, record.key)
                expired.bytes += files.delete_packets()
                expired.captures += 1
        _compact(workspace)
    return expired


def _is_older(record: Record, days: float | None) -> bool:
    old = days is not None and record.changed_at < time.time() - days * _DAY
    return record.state is State.DONE and old


def _compact(workspace: Workspace) -> None:
    """Free the disk of deleted rows in the embedded QuestDB.

    Others may load into a QuestDB of your own, so its tables are left alone.
    """
    if not workspace.options.embeds_questdb:
        return
    try:
        compact(workspace.database(), workspace.loading_lock, min_gone=_MIN_GONE)
    except BackendError as error:  # what was deleted stays deleted
        log.warning("%s", error)
