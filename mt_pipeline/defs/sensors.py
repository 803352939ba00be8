"""The sensor: what lies in the inbox and has settled is requested, once; what a killed run left is requested once more.

The ledger is its memory. For the underlying concept, see https://docs.dagster.io/guides/automate/sensors
"""

import time

import dagster as dg

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture, shared_experiments
from mt_pipeline.captures.ledger import CaptureBusyError, Ledger
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.assets import CAPTURES_PER_RUN
from mt_pipeline.defs.jobs import ingest_captures
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.resources import Pipeline

MOST_SINGLE_RUNS = 20
"""More new captures than this at once share runs: a run costs a second or two, however small its captures."""

MOST_PER_TICK = 5000
"""A tick has a time limit; the rest comes with the next one."""

START_SECONDS = 60
"""A run that was asked for and is not to be found after this time never comes."""

_GOING = [
    status for status in dg.DagsterRunStatus if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]


@dg.sensor(job=ingest_captures, minimum_interval_seconds=4, default_status=dg.DefaultSensorStatus.RUNNING)
def new_captures(context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.SensorResult | dg.SkipReason:
    """Request a run for each new or changed capture of the inbox, and say which files are none."""
    ledger, instance = pipeline.ledger, context.instance
    pipeline.inbox.mkdir(parents=True, exist_ok=True)
    _make_good(ledger, instance)
    walk = inbox.walk(pipeline.inbox)
    for problem in walk.problems:
        context.log.warning(problem)
    good, refused = _sniffed(context, ledger, ledger.look(walk, settle=pipeline.settings.settle_seconds)[:MOST_PER_TICK])
    mine = set(ledger.requested(capture.key for capture in good))
    good = [capture for capture in good if capture.key in mine]
    if not good:
        return dg.SkipReason(
            f"{len(walk.captures)} files in {pipeline.inbox}, none of them new and quiet"
            + (f"; refused: {'; '.join(refused[:10])}" if refused else "")
        )
    for experiment, names in shared_experiments(capture.key for capture in walk.captures).items():
        context.log.warning(f"{' and '.join(names)} share the table packets_{experiment}: rename a folder if they should not")
    known = set(instance.get_dynamic_partitions(captures.name or ""))
    new = [capture.key for capture in good if capture.key not in known]
    return dg.SensorResult(run_requests=_requests(good, new), dynamic_partitions_requests=[captures.build_add_request(new)])


def _sniffed(context: dg.SensorEvaluationContext, ledger: Ledger, ready: list[Capture]) -> tuple[list[Capture], list[str]]:
    """Keep what begins like a capture: one partition that can never succeed paints all assets red."""
    good, refused = [], []
    for capture in ready:
        if reason := inbox.sniff(capture):
            ledger.refuse(capture, reason)
            context.log.warning(reason)
            refused.append(reason)
        else:
            good.append(capture)
    return good, refused


def _requests(good: list[Capture], new: list[str]) -> list[dg.RunRequest]:
    """Ask for a run per capture; many new ones share runs, as ranges of the order in which they are added now."""
    now = time.time_ns()
    shared = new if len(new) > MOST_SINGLE_RUNS else []
    alone = {capture.key for capture in good} - set(shared)
    return [
        *(dg.RunRequest(run_key=f"{key}@{now}", partition_key=key) for key in sorted(alone)),
        *(
            dg.RunRequest(
                run_key=f"{keys[0]}...{keys[-1]}@{now}",
                tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
            )
            for keys in (shared[first : first + CAPTURES_PER_RUN] for first in range(0, len(shared), CAPTURES_PER_RUN))
        ),
    ]


def _make_good(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    """Give captures whose run ended without a verdict back to the next look: killed, or never started."""
    unfinished = ledger.unfinished()
    for record in unfinished:
        if record.state is State.RUNNING and _given_back(ledger, record):
            _end(instance, record)
    going = unfinished and instance.get_runs(dg.RunsFilter(statuses=_GOING), limit=1)
    for record in unfinished:
        if record.state is not State.RUNNING and not going and time.time() - (record.requested_at or 0) > START_SECONDS:
            ledger.again(record.key)


def _given_back(ledger: Ledger, record: Record) -> bool:
    """Give a capture back if nobody works on it: a run holds its lock, and the kernel lets go of the lock when the run dies."""
    try:
        with ledger.lock(record.key, timeout=0):
            now = ledger.get(record.key)
            dead = now is not None and (now.state, now.run) == (State.RUNNING, record.run)
            if dead:
                ledger.again(record.key)
            return dead
    except CaptureBusyError:
        return False


def _end(instance: dg.DagsterInstance, record: Record) -> None:
    """End a run whose process is gone. Dagster does not notice when the process above it is gone too, and counts it as one at work for ever."""
    run = instance.get_run_by_id(record.run) if record.run else None
    if run and not run.is_finished:
        instance.report_run_failed(run, f"the process of this run is gone; {record.key} is requested once more, unless it was twice already")
