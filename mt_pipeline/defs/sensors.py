"""The sensor `new_captures`: requests each file of the inbox once it has settled.

It requests the captures of an archive in portions; captures that you drop meanwhile come first. The
ledger remembers what was requested. `recovery.py` finds runs that left captures undone.

Dagster starts a tick every five seconds at most, and each costs more than a look. So a tick goes on
looking until it has something to tell, or until the next one is near.

For the underlying concept, see https://docs.dagster.io/guides/automate/sensors
"""

import time
from collections.abc import Callable, Iterator
from itertools import groupby

import dagster as dg

from mt_pipeline.captures import inbox
from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.naming import CaptureError, shared_experiments
from mt_pipeline.captures.store import InboxError
from mt_pipeline.captures.watch import looks
from mt_pipeline.defs import cluster
from mt_pipeline.defs.jobs import ingest_captures
from mt_pipeline.defs.partitions import captures, restore
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
from mt_pipeline.system.interrupts import ENDING

MOST_SINGLE_RUNS = 20
"""If there are more captures than this at once, they share runs."""

MOST_IN_HAND = 10 * CAPTURES_PER_RUN
"""Captures of an archive that are requested at one time. Dagster takes seconds to create a run of
many, and the sensor sees nothing new meanwhile."""


BEGAN = str(time.time())
"""When this code server began. The cursor of the sensor says which one has ticked last."""

BUSY_SECONDS, IDLE_SECONDS = 4.0, 19.0
"""How long a tick looks. While captures wait, a tick is also how a killed run is noticed."""

_REFUSED = "; refused: "


@dg.sensor(
    job=ingest_captures, minimum_interval_seconds=4, default_status=dg.DefaultSensorStatus.RUNNING
)
def new_captures(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run for each new or changed capture of the inbox, and name files that are none."""
    ledger, options = workspace.ledger, workspace.options
    _recover(workspace, context.instance)
    if context.cursor != BEGAN:
        # Dagster may have another storage than before, which knows none of the captures.
        if restored := restore(context.instance, ledger.tried()):
            context.log.info(f"{restored:,} captures of the ledger have partitions now")
        context.update_cursor(BEGAN)
    result: dg.SensorResult | dg.SkipReason = dg.SkipReason("the code is about to be unloaded")
    for walk in looks(
        workspace.inbox,
        ledger,
        settle=options.settle_seconds,
        seconds=BUSY_SECONDS if ledger.progress().left else IDLE_SECONDS,
        ending=ENDING,
    ):
        result = look(context, workspace, walk)
        if isinstance(result, dg.SensorResult) or _REFUSED in (result.skip_message or ""):
            break
    return result


def tick(
    context: dg.SensorEvaluationContext, workspace: Workspace, *, most_in_hand: int = MOST_IN_HAND
) -> dg.SensorResult | dg.SkipReason:
    """Recover captures whose runs died, and look into the inbox once; see `look`."""
    _recover(workspace, context.instance)
    walk = inbox.walk(workspace.inbox)
    return look(context, workspace, walk, most_in_hand=most_in_hand)


def _recover(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """Have the captures of runs that died requested again."""
    inbox.prepare(workspace.inbox)
    cluster.fail_lost_runs(workspace.options, instance)
    make_good(workspace.ledger, instance)


def look(
    context: dg.SensorEvaluationContext,
    workspace: Workspace,
    walk: Walk,
    *,
    most_in_hand: int = MOST_IN_HAND,
) -> dg.SensorResult | dg.SkipReason:
    """Request what a walk of the inbox found.

    Args:
        context: the context of the sensor.
        workspace: the data folder.
        walk: all files of the inbox.
        most_in_hand: captures of an archive that are requested at one time.
    """
    ledger, instance, options = workspace.ledger, context.instance, workspace.options
    for problem in walk.problems:
        context.log.warning(problem)
    ready = ledger.look(walk, settle=options.settle_seconds, follow=options.follow)
    if outage := ledger.outage():
        if outage.pause:
            return dg.SkipReason(
                f"{ledger.progress()}; they wait for {outage.pause:.0f} s more: {outage.reason}"
            )
        ready = ready[:1]  # it shows whether the outage is over
    in_hand = len(ledger.unfinished())
    workers = cluster.workers(options) if ready else []
    room = cluster.in_hand(most_in_hand, workers) - in_hand
    chosen = [capture for look in _portion(ready, room) for capture in look]
    try:
        good, refused = _sniffed(context, ledger, chosen)
    except InboxError as error:
        return dg.SkipReason(str(error))
    mine = set(ledger.requested(capture.key for capture in good))
    good = [capture for capture in good if capture.key in mine]
    progress = ledger.progress()
    if not good:
        idle = f"{len(walk.captures)} files in {workspace.inbox}, none of them new and quiet"
        text = str(progress) if progress.left else idle
        if unread := walk.unread.get(""):
            text = f"{text}; {unread}"
        return _skip(text, refused)
    context.log.info(str(progress))
    for experiment, names in shared_experiments(capture.key for capture in walk.captures).items():
        context.log.warning(
            f"{' and '.join(names)} share the table packets_{experiment}: "
            "rename a folder if they should not"
        )
    place = places(instance.get_dynamic_partitions(captures.name or ""))
    new = [capture.key for capture in good if capture.key not in place]
    left = len(ready) + in_hand
    most = 1 if left <= MOST_SINGLE_RUNS else cluster.captures_per_run(left, workers)
    return dg.SensorResult(
        run_requests=_requests(
            good, place, most=most, more=lambda batch: cluster.queue_tags(options, batch, workers)
        ),
        dynamic_partitions_requests=[captures.build_add_request(new)],
    )


def _skip(text: str, refused: list[str]) -> dg.SkipReason:
    return dg.SkipReason(f"{text}{_REFUSED}{'; '.join(refused[:10])}" if refused else text)


def _portion(ready: list[Capture], room: int) -> Iterator[list[Capture]]:
    """Choose the captures to request now, grouped by the look that found them, the last one first.

    A look that found few captures is requested whole; of one that found many, `room` captures.
    """
    room = max(room, 0)
    for _, group in groupby(ready, key=lambda capture: capture.seen_at):
        look = list(group)
        if len(look) > MOST_SINGLE_RUNS:
            look = look[:room]
            room -= len(look)
        yield look


def _sniffed(
    context: dg.SensorEvaluationContext, ledger: Ledger, ready: list[Capture]
) -> tuple[list[Capture], list[str]]:
    """Refuse files that do not begin like a capture: their partitions would never succeed.

    Returns:
        The captures, and the reasons for the other files.

    Raises:
        InboxError: the store cannot be asked.
    """
    good, refused = [], []
    for capture in ready:
        try:
            if reason := sniff(capture):
                ledger.refuse(capture, reason)
        except CaptureError as error:  # an object, which is looked at again
            reason = str(error)
        if reason:
            context.log.warning(reason)
            refused.append(reason)
        else:
            good.append(capture)
    return good, refused


def _requests(
    good: list[Capture],
    place: dict[str, int],
    *,
    most: int,
    more: Callable[[list[Capture]], dict[str, str]],
) -> list[dg.RunRequest]:
    """Request a run for each of a few captures; let many share runs.

    Captures of different looks do not share a run. Those of a small look start first.

    Args:
        good: the captures.
        place: the position of each partition.
        most: captures of a run.
        more: returns more tags of a run.
    """
    now, requests = time.time_ns(), []
    for _, group in groupby(good, key=lambda capture: capture.seen_at):
        look = list(group)
        priority = DROPPED if len(look) <= MOST_SINGLE_RUNS else ARCHIVE
        new = [capture for capture in look if capture.key not in place]
        neighbours = [*stretches((capture for capture in look if capture.key in place), place), new]
        for batch in (batch for stretch in neighbours for batch in batches(stretch, most=most)):
            keys = [capture.key for capture in batch]
            tags = {**tags_of(keys), BY_SENSOR: "yes", PRIORITY: priority, **more(batch)}
            requests.append(
                dg.RunRequest(
                    run_key=f"{keys[0]}@{now}",
                    partition_key=keys[0] if len(keys) == 1 else None,
                    tags=tags,
                )
            )
    return requests
