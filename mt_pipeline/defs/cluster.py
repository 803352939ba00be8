"""What the sensor asks of a cluster: its slots, queues by memory, and runs that the broker lost.

On one machine there is none: nothing of it is imported, and nobody is asked.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import dagster as dg

from mt_pipeline.captures.identity import Capture
from mt_pipeline.defs.runs import CAPTURES_PER_RUN
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.options import Options
from mt_pipeline.state.advisory import BusyError

if TYPE_CHECKING:
    from mt_pipeline.cluster.members import Worker

log = logging.getLogger(__name__)

QUEUE = "dagster-celery/queue"
"""Tag of a run, which names its queue."""

_ROUNDS = 4
"""What is left is cut into this many runs for each slot, so that a slower machine gets fewer."""

_IN_HAND_PER_SLOT = 100
_LOST_SECONDS = 60
"""After this time a run that no worker has begun, and that the broker does not have, is lost."""


def workers(options: Options) -> "list[Worker]":
    """Return the workers that are there; none on one machine.

    Raises:
        StateError: Postgres does not answer.
    """
    if options.broker_url is None or options.state is None:
        return []
    from mt_pipeline.cluster.members import Members

    return Members(options.state).workers()


def captures_per_run(left: int, workers: "Sequence[Worker]") -> int:
    """Return how many captures share a run at most, if so many are left."""
    slots = sum(worker.slots for worker in workers)
    share = -(-left // (_ROUNDS * slots)) if slots else CAPTURES_PER_RUN
    return max(1, min(CAPTURES_PER_RUN, share))


def in_hand(most: int, workers: "Sequence[Worker]") -> int:
    """Return how many captures of an archive are requested at one time."""
    return max(most, _IN_HAND_PER_SLOT * sum(worker.slots for worker in workers))


def queue_tags(
    options: Options, captures: Sequence[Capture], workers: "Sequence[Worker]"
) -> dict[str, str]:
    """Return the tags that send a run to a worker with enough memory."""
    if not workers:
        return {}
    from mt_pipeline.cluster import broker

    largest = max(captures, key=lambda capture: capture.size)  # the others share its run
    need = capacity.comfortable_memory(options, largest)
    return {QUEUE: broker.queue_for(need, [worker.memory for worker in workers])}


def fail_lost_runs(
    options: Options, instance: dg.DagsterInstance, *, after: float = _LOST_SECONDS
) -> None:
    """Report runs as failed that no worker will get: the broker was killed while it had them.

    Without the broker nobody knows, and this waits.

    Args:
        options: the options of the data folder.
        instance: that of Dagster.
        after: seconds that a run may wait for its worker until somebody looks.
    """
    if options.broker_url is None:
        return
    starting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])
    records = [
        record
        for record in instance.get_run_records(starting)
        if time.time() - record.update_timestamp.timestamp() > after
    ]
    if not records:
        return
    from mt_pipeline.cluster import broker
    from mt_pipeline.defs.launcher import at_work

    try:
        waiting = broker.waiting(broker.app(options))
    except broker.AWAY as error:
        log.warning("nobody knows which runs wait: the broker does not answer (%s)", error)
        return
    for name in {record.dagster_run.run_id for record in records} - waiting:
        with suppress(BusyError), at_work(options, name):
            run = instance.get_run_by_id(name)
            if run and run.status is dg.DagsterRunStatus.STARTING:
                instance.report_run_failed(
                    run, "the broker lost this run; its captures are asked for again, by themselves"
                )
