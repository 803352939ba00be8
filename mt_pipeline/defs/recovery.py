"""Recovers captures whose run ended without a verdict: it was killed, or it never started.

The sensor calls this first. What it reads may be out of date when it acts. So `Ledger.again` and
`end` take the lock of the capture or run, and check again before they change anything.
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
"""Tag of the runs of `mt-pipeline ingest`, which locks a run before it begins. A run of Dagster
locks itself as soon as its process works."""

START_SECONDS = 60
"""If Dagster has no run for a request after this time, there will be none."""

ENQUEUE_SECONDS = 600
"""If a run is not in the queue after this time, it was forgotten. On a busy machine it takes
minutes to create a run of fifty captures."""

_FINISHED = {
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
}
_UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _FINISHED]


def make_good(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    """Have the sensor request captures again whose run ended without a verdict."""
    _enqueue_forgotten(instance)
    unfinished = ledger.unfinished()
    if not unfinished:
        return
    running = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        if not (TERMINAL in run.tags and end(ledger, instance, run.run_id))
    ]
    overdue = {
        record.key
        for record in unfinished
        if record.state is State.WAITING
        and time.time() - (record.requested_at or 0) > START_SECONDS
    }
    expected = set[str]()
    if overdue:
        expected = covered(running, instance.get_dynamic_partitions(captures.name or ""))
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
    """Hold the lock of a run until the block ends. While it is locked, the run is alive."""
    with nullcontext() if TERMINAL in run.tags else ledger.lock(run.run_id):
        yield


def end(ledger: Ledger, instance: dg.DagsterInstance, run_id: str) -> bool:
    """Report a run as failed if its process has ended.

    Dagster does not notice that if the process which started the run has ended too, or if it was a
    terminal.

    Returns:
        Whether the run has ended.
    """
    try:
        with ledger.lock(run_id, timeout=0):
            run = instance.get_run_by_id(run_id)
            if run and not run.is_finished:
                instance.report_run_failed(
                    run,
                    "the process of this run is gone; captures that it was at are asked for "
                    "once more, by themselves",
                )
    except CaptureBusyError:
        return False
    return True


def _enqueue_forgotten(instance: dg.DagsterInstance) -> None:
    """Put runs into the queue that Dagster created, but did not put there.

    Dagster does the one after the other. If it is killed in between, its backfill waits for ever
    for a run that never starts.
    """
    for record in instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])
    ):
        run, age = record.dagster_run, time.time() - record.create_timestamp.timestamp()
        if run.remote_job_origin is None or age <= ENQUEUE_SECONDS:
            continue
        # Look again: a run that has begun meanwhile would begin twice.
        now = instance.get_run_by_id(run.run_id)
        if now and now.status is dg.DagsterRunStatus.NOT_STARTED:
            instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
