"""Makes good what ended without a verdict: runs that were killed, runs that never start, terminals that are gone.

The sensor calls it before it looks. What it has read may be past when it acts, so nothing here acts on that: `Ledger.again` and `end` take the
lock of whoever would be at work, look once more, and only then do something.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import dagster as dg

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import State
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import covered

TERMINAL = "mt_pipeline/terminal"
"""Tag of the runs of `mt-pipeline ingest`, which holds their lock from before they begin; those of Dagster do as soon as they are at work."""

START_SECONDS = 60
"""A run that was asked for and is not to be found after this time never comes."""

ENQUEUE_SECONDS = 600
"""A run that was made and is not in the queue after this time was forgotten; on a busy machine it takes minutes to make one of fifty captures."""

_GOING = [
    status
    for status in dg.DagsterRunStatus
    if status
    not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]


def make_good(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    """Give captures whose run ended without a verdict back to the next look: killed, or never started."""
    _enqueue_forgotten(instance)
    unfinished = ledger.unfinished()
    if not unfinished:
        return
    going = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=_GOING))
        if not (TERMINAL in run.tags and end(ledger, instance, run.run_id))
    ]
    overdue = {
        record.key
        for record in unfinished
        if record.state is State.WAITING
        and time.time() - (record.requested_at or 0) > START_SECONDS
    }
    expected = (
        covered(going, instance.get_dynamic_partitions(captures.name or "")) if overdue else set()
    )
    for record in unfinished:
        if record.state is State.RUNNING:
            if ledger.retry(record) and record.run:
                end(ledger, instance, record.run)
        elif record.key in overdue - expected and not (
            record.requested_by and ledger.is_at_work(record.requested_by)
        ):
            ledger.retry(record)


@contextmanager
def at_work(ledger: Ledger, run: dg.DagsterRun) -> Iterator[None]:
    """Hold the lock of a run while it is at work: as long as it is held, the run lives, whatever its captures look like."""
    with nullcontext() if TERMINAL in run.tags else ledger.lock(run.run_id):
        yield


def end(ledger: Ledger, instance: dg.DagsterInstance, run_id: str) -> bool:
    """Show a run as failed if its process is gone: Dagster does not notice that if the process above it is gone too, nor of terminals.

    Returns:
        Whether it is over, by now or before.
    """
    try:
        with ledger.lock(run_id, timeout=0):
            run = instance.get_run_by_id(run_id)
            if run and not run.is_finished:
                instance.report_run_failed(
                    run,
                    "the process of this run is gone; captures that it was at are asked for once more, by themselves",
                )
    except CaptureBusyError:
        return False
    return True


def _enqueue_forgotten(instance: dg.DagsterInstance) -> None:
    """Put runs into the queue that were made and never put there.

    Dagster does both one after the other. If it is killed in between, its backfill takes the run for one that will start, and waits for ever.
    """
    for record in instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])
    ):
        run, age = record.dagster_run, time.time() - record.create_timestamp.timestamp()
        if run.remote_job_origin is None or age <= ENQUEUE_SECONDS:
            continue
        now = instance.get_run_by_id(
            run.run_id
        )  # one that has begun meanwhile would begin once more
        if now and now.status is dg.DagsterRunStatus.NOT_STARTED:
            instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
