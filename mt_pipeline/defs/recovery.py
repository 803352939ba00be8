"""Makes good what ended without a verdict: runs that were killed, runs that never start, terminals that are gone.

The sensor calls it before it looks. What a record then becomes is for the ledger to say.
"""

import time

import dagster as dg

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import covered

TERMINAL = "mt_pipeline/terminal"
"""Tag of the runs of `mt-pipeline ingest`: it holds a lock named after the run while that goes on."""

START_SECONDS = 60
"""A run that was asked for and is not to be found after this time never comes."""

ENQUEUE_SECONDS = 120
"""A run that was made and is not in the queue after this time was forgotten; under load it takes half a minute to make one of fifty captures."""

_GOING = [
    status for status in dg.DagsterRunStatus if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]


def make_good(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    """Give captures whose run ended without a verdict back to the next look: killed, or never started."""
    _enqueue_forgotten(instance)
    unfinished = ledger.unfinished()
    if not unfinished:
        return
    going = [run for run in instance.get_runs(dg.RunsFilter(statuses=_GOING)) if not _ended(run, ledger, instance)]
    overdue = {record.key for record in unfinished if record.state is State.WAITING and time.time() - (record.requested_at or 0) > START_SECONDS}
    expected = covered(going, instance.get_dynamic_partitions(captures.name or "")) if overdue else set()
    for record in unfinished:
        if record.key in overdue - expected:
            ledger.again(record.key)
        elif record.state is State.RUNNING and is_free(ledger, record):
            ledger.again(record.key)
            _end(instance, record)


def _enqueue_forgotten(instance: dg.DagsterInstance) -> None:
    """Put runs into the queue that were made and never put there.

    Dagster does both one after the other. If it is killed in between, its backfill takes the run for one that will start, and waits for ever.
    """
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
        run, age = record.dagster_run, time.time() - record.create_timestamp.timestamp()
        if run.remote_job_origin is not None and age > ENQUEUE_SECONDS:
            instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)


def _ended(run: dg.DagsterRun, ledger: Ledger, instance: dg.DagsterInstance) -> bool:
    """End the run of a terminal that was killed, which nobody else would ever do; Dagster looks after those that it started itself."""
    if TERMINAL not in run.tags or not _lock_is_free(ledger, run.run_id):
        return False
    instance.report_run_failed(run, "the process of this run is gone; its captures are requested once more")
    return True


def _end(instance: dg.DagsterInstance, record: Record) -> None:
    """End a run whose process is gone. Dagster does not notice when the process above it is gone too, and counts it as one at work for ever."""
    run = instance.get_run_by_id(record.run) if record.run else None
    if run and not run.is_finished:
        instance.report_run_failed(run, f"the process of this run is gone; {record.key} is requested once more, unless it was twice already")


def is_free(ledger: Ledger, record: Record) -> bool:
    """Say whether nobody works on a capture: a run holds its lock, and the kernel lets go of the lock when the run dies."""
    try:
        with ledger.lock(record.key, timeout=0):
            return (ledger.get(record.key) or record).run == record.run
    except CaptureBusyError:
        return False


def _lock_is_free(ledger: Ledger, name: str) -> bool:
    try:
        with ledger.lock(name, timeout=0):
            return True
    except CaptureBusyError:
        return False
