"""Lets go of documents that are old: most of the disk of the stages, and needed only when the code that reads them changes.

The typed packets, endpoints and answers stay, so refreshes go on without tshark. What was let go of is made again by the next run of tshark.
"""

import time

import dagster as dg

from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.files import CaptureFiles
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.settings import Settings

_DAY = 86_400


def is_expired(settings: Settings, record: Record) -> bool:
    """Say whether the documents of a loaded capture are older than MT_KEEP_DOCUMENTS_DAYS."""
    days = settings.keep_documents_days
    return days is not None and record.state is State.DONE and record.changed_at < time.time() - days * _DAY


@dg.op
def expire(context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Delete the documents that have expired; those of a capture at work are left alone."""
    captures = size = 0
    for record in pipeline.ledger.records():
        if not record.documents or not is_expired(pipeline.settings, record):
            continue
        path = CaptureFiles(pipeline.settings.data_dir, record.key).documents(record.documents)
        with pipeline.ledger.lock(record.key):
            if path.exists() and pipeline.ledger.get(record.key) == record:
                captures += 1
                size += path.stat().st_size
                path.unlink()
    context.log.info(f"documents of {captures:,} captures deleted, {size:,} bytes")
    context.add_output_metadata({"captures": captures, "bytes": size})


@dg.job(
    description="Delete documents older than MT_KEEP_DOCUMENTS_DAYS; rows, packets, endpoints and answers stay.", executor_def=dg.in_process_executor
)
def expire_documents() -> None:
    """Delete what has expired."""
    expire()


expire_daily = dg.ScheduleDefinition(
    name="expire_daily",
    job=expire_documents,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes documents that have expired. Does nothing unless MT_KEEP_DOCUMENTS_DAYS is set.",
)
