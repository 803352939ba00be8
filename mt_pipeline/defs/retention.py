"""Lets go of what is old: documents, most of the disk of the stages, and packets, most of the disk there is. The captures themselves stay.

Without documents, refreshes go on, as the typed packets stay; what was let go of is made again by the next run of tshark. Without packets, the flows
of a capture and what the ledger and the table `captures` know of it stay, and a refresh leaves it alone; ingested by hand it is whole again.
"""

import logging
import time

import dagster as dg

from mt_pipeline.backends.questdb.compact import compact
from mt_pipeline.backends.questdb.database import DatabaseError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs import backends
from mt_pipeline.defs.failures import Failed, apart, failure
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Pipeline
from mt_pipeline.settings import Settings

log = logging.getLogger(__name__)

_DAY = 86_400
_WORTH = 0.5
"""The share of a month that must be gone before its other rows are written anew: else each night would write the same ones."""


def documents_expired(settings: Settings, record: Record) -> bool:
    """Say whether the documents of a loaded capture are older than MT_KEEP_DOCUMENTS_DAYS."""
    return _is_older(record, settings.keep_documents_days)


@dg.op
def expire_documents(context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Delete the documents that have expired; those of a capture at work are left alone."""
    captures = size = 0
    failures: list[Failed] = []
    due = [record for record in pipeline.ledger.records() if record.documents and documents_expired(pipeline.settings, record)]
    for record in due:
        path = CaptureFiles(pipeline.settings.data_dir, record.key).documents(record.documents or "")
        with apart(record.key, failures), pipeline.ledger.lock(record.key) as now:
            if now == record and path.exists():
                length = path.stat().st_size
                path.unlink()
                captures, size = captures + 1, size + length
    context.log.info(f"documents of {captures:,} captures deleted, {size:,} bytes")
    context.add_output_metadata({"captures": captures, "freed_bytes": size})
    if failures:
        raise failure(failures, len(due))


@dg.op
def expire_packets(context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Take out the packets that have expired, of the back ends and of the disk; those of a capture at work are left alone."""
    captures = rows = size = 0
    failures: list[Failed] = []
    days = pipeline.settings.keep_packets_days
    if due := [record for record in pipeline.ledger.records() if record.packets_expired_at is None and _is_older(record, days)]:
        with pipeline.questdb():
            opened = backends.opened(pipeline)
            for record in due:
                with apart(record.key, failures), pipeline.ledger.lock(record.key) as now:
                    if now != record:
                        continue
                    # Noted first: else who verifies after a kill would have the capture loaded again.
                    pipeline.ledger.expire_packets(record.key)
                    rows += max([backend.expire(record.key) for backend in opened])
                    size += CaptureFiles(pipeline.settings.data_dir, record.key).delete_packets()
                    captures += 1
            _give_back(pipeline)
    context.log.info(f"packets of {captures:,} captures let go of, {rows:,} rows, {size:,} bytes of files")
    context.add_output_metadata({"captures": captures, "rows": rows, "freed_bytes": size})
    if failures:
        raise failure(failures, len(due))


@dg.job(
    description="Let go of documents older than MT_KEEP_DOCUMENTS_DAYS and of packets older than MT_KEEP_PACKETS_DAYS; flows stay.",
    executor_def=dg.in_process_executor,
)
def expire_old() -> None:
    """Let go of what has expired."""
    expire_documents()
    expire_packets()


expire_daily = dg.ScheduleDefinition(
    name="expire_daily",
    job=expire_old,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Lets go of what has expired. Does nothing unless MT_KEEP_DOCUMENTS_DAYS or MT_KEEP_PACKETS_DAYS is set.",
)


def _is_older(record: Record, days: float | None) -> bool:
    return days is not None and record.state is State.DONE and record.changed_at < time.time() - days * _DAY


def _give_back(pipeline: Pipeline) -> None:
    """Have the embedded QuestDB give the disk back. One of the user's own may be loaded into by others, of whose loads we do not know."""
    if not pipeline.settings.has_questdb or pipeline.settings.questdb_host is not None:
        return
    try:
        compact(pipeline.database(), pipeline.loading_lock, worth=_WORTH)
    except DatabaseError as error:  # what was let go of is so all the same
        log.warning("%s", error)
