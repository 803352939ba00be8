"""The sensor: what lies in the inbox and has settled is requested, once; an archive in portions, and what is dropped meanwhile before it.

The ledger is its memory; what runs left undone is made good by `recovery.py`. For the underlying concept, see
https://docs.dagster.io/guides/automate/sensors
"""

import time
from collections.abc import Iterator
from itertools import groupby

import dagster as dg

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.naming import shared_experiments
from mt_pipeline.defs.jobs import ingest_captures
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.recovery import make_good
from mt_pipeline.defs.runs import (
    ARCHIVE,
    BY_SENSOR,
    CAPTURES_PER_RUN,
    DROPPED,
    PRIORITY,
    batches,
    places,
    stretches,
    tags_of,
)
from mt_pipeline.pipeline.workspace import Workspace

MOST_SINGLE_RUNS = 20
"""More captures than this at once share runs."""

MOST_IN_HAND = 10 * CAPTURES_PER_RUN
"""Captures of an archive that are asked for at one time: Dagster takes seconds to make a run of many, and sees nothing new meanwhile."""


@dg.sensor(
    job=ingest_captures, minimum_interval_seconds=4, default_status=dg.DefaultSensorStatus.RUNNING
)
def new_captures(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run for each new or changed capture of the inbox, and say which files are none."""
    ledger, instance = workspace.ledger, context.instance
    workspace.inbox.mkdir(parents=True, exist_ok=True)
    make_good(ledger, instance)
    walk = inbox.walk(workspace.inbox)
    for problem in walk.problems:
        context.log.warning(problem)
    ready = ledger.look(
        walk, settle=workspace.options.settle_seconds, follow=workspace.options.follow
    )
    if outage := ledger.outage():
        if outage.pause:
            return dg.SkipReason(
                f"{ledger.progress()}; they wait for {outage.pause:.0f} s more: {outage.reason}"
            )
        ready = ready[:1]  # it tells whether the outage is over
    in_hand = len(ledger.unfinished())
    chosen = [capture for look in _portion(ready, in_hand) for capture in look]
    good, refused = _sniffed(context, ledger, chosen)
    mine = set(ledger.requested(capture.key for capture in good))
    good = [capture for capture in good if capture.key in mine]
    progress = ledger.progress()
    if not good:
        return dg.SkipReason(
            (
                str(progress)
                if progress.left
                else f"{len(walk.captures)} files in {workspace.inbox}, none of them new and quiet"
            )
            + (f"; refused: {'; '.join(refused[:10])}" if refused else "")
        )
    context.log.info(str(progress))
    for experiment, names in shared_experiments(capture.key for capture in walk.captures).items():
        context.log.warning(
            f"{' and '.join(names)} share the table packets_{experiment}: rename a folder if they should not"
        )
    place = places(instance.get_dynamic_partitions(captures.name or ""))
    new = [capture.key for capture in good if capture.key not in place]
    few = len(ready) + in_hand <= MOST_SINGLE_RUNS
    return dg.SensorResult(
        run_requests=_requests(good, place, few=few),
        dynamic_partitions_requests=[captures.build_add_request(new)],
    )


def _portion(ready: list[Capture], in_hand: int) -> Iterator[list[Capture]]:
    """Choose what to ask for now, look by look, the last first: all of a few captures, of many as much as there is room for."""
    room = max(MOST_IN_HAND - in_hand, 0)
    for _, of_look in groupby(ready, key=lambda capture: capture.seen_at):
        look = list(of_look)
        if len(look) > MOST_SINGLE_RUNS:
            look = look[:room]
            room -= len(look)
        yield look


def _sniffed(
    context: dg.SensorEvaluationContext, ledger: Ledger, ready: list[Capture]
) -> tuple[list[Capture], list[str]]:
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


def _requests(good: list[Capture], place: dict[str, int], *, few: bool) -> list[dg.RunRequest]:
    """Ask for a run per capture, if they are few; else they share runs, each look by itself, and those of a small one are started first."""
    now, requests = time.time_ns(), []
    for _, of_look in groupby(good, key=lambda capture: capture.seen_at):
        look = list(of_look)
        new = [capture for capture in look if capture.key not in place]
        neighbours = [*stretches((capture for capture in look if capture.key in place), place), new]
        for keys in (
            [capture.key for capture in batch]
            for some in neighbours
            for batch in batches(some, most=1 if few else CAPTURES_PER_RUN)
        ):
            tags = {
                **tags_of(keys),
                BY_SENSOR: "yes",
                PRIORITY: DROPPED if len(look) <= MOST_SINGLE_RUNS else ARCHIVE,
            }
            requests.append(
                dg.RunRequest(
                    run_key=f"{keys[0]}@{now}",
                    partition_key=keys[0] if len(keys) == 1 else None,
                    tags=tags,
                )
            )
    return requests
