"""The job `expire_old`, and the schedule that launches it each night.

For the underlying concept, see https://docs.dagster.io/guides/build/ops
"""

import dagster as dg

from mt_pipeline.defs.failures import failure
from mt_pipeline.pipeline import retention
from mt_pipeline.pipeline.workspace import Workspace


@dg.op
def expire_documents(
    context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> None:
    """Delete expired documents."""
    expired = retention.expire_documents(workspace)
    context.log.info(f"documents of {expired.captures:,} captures deleted, {expired.bytes:,} bytes")
    context.add_output_metadata({"captures": expired.captures, "freed_bytes": expired.bytes})
    if expired.failures:
        raise failure(expired.failures, expired.due)


@dg.op
def expire_packets(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
    """Delete expired packets."""
    expired = retention.expire_packets(workspace)
    numbers = f"{expired.rows:,} rows, {expired.bytes:,} bytes of files"
    context.log.info(f"packets of {expired.captures:,} captures deleted, {numbers}")
    context.add_output_metadata(
        {"captures": expired.captures, "rows": expired.rows, "freed_bytes": expired.bytes}
    )
    if expired.failures:
        raise failure(expired.failures, expired.due)


@dg.job(
    description="Delete documents older than MT_KEEP_DOCUMENTS_DAYS and packets older than "
    "MT_KEEP_PACKETS_DAYS; flows stay.",
    executor_def=dg.in_process_executor,
)
def expire_old() -> None:
    """Delete expired documents, then expired packets."""
    expire_documents()
    expire_packets()


expire_daily = dg.ScheduleDefinition(
    name="expire_daily",
    job=expire_old,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes what has expired. "
    "Does nothing unless MT_KEEP_DOCUMENTS_DAYS or MT_KEEP_PACKETS_DAYS is set.",
)
