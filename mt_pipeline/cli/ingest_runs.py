"""The Dagster runs of `mt-pipeline ingest`: which captures share one, and who runs them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from math import ceil

import dagster as dg

from mt_pipeline.cli.runner import Runner
from mt_pipeline.cli.selection import Selected
from mt_pipeline.cli.taken_captures import TakenCaptures
from mt_pipeline.cli.worker_count import FEW
from mt_pipeline.cli.workers import run_all
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import CAPTURES_PER_RUN, batches, places, stretches
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline.system.processes import cores


def run_here(
    workspace: Workspace,
    new: Sequence[Selected],
    taken: TakenCaptures,
    *,
    display_filter: str | None,
) -> bool:
    """Run captures in this process, one run after the other.

    Args:
        workspace: the data folder.
        new: captures to load.
        taken: takes a capture before its run.
        display_filter: of all runs; None for the setting's.

    Returns:
        Whether all runs ended; False if Ctrl-C interrupted one.
    """
    with dagster_home.opened(workspace.options) as instance:
        runner = Runner(workspace, instance, display_filter=display_filter)
        return all(runner.run(keys) for keys in _runs(instance, new, taken.take))


def run_in_processes(
    workspace: Workspace,
    new: Sequence[Selected],
    taken: TakenCaptures,
    *,
    display_filter: str | None,
    workers: int,
    services: AbstractContextManager[None],
) -> bool:
    """Run captures in several processes.

    Args:
        workspace: the data folder.
        new: captures to load.
        taken: takes a capture before its run.
        display_filter: of all runs; None for the setting's.
        workers: number of processes.
        services: what the workers need; it starts while they start.
    """
    with dagster_home.opened(workspace.options) as instance:
        return run_all(
            workspace,
            instance,
            _runs(instance, new, taken.take),
            display_filter=display_filter,
            workers=workers,
            services=services,
            name=taken.name,
        )


def _runs(
    instance: dg.DagsterInstance, new: Sequence[Selected], take: Callable[[Selected], bool]
) -> Iterator[list[str]]:
    """Yield the keys of the captures of each run, which are neighbours among the partitions.

    A capture is taken, and becomes a partition, only when its run is asked for. What a cancelled
    command leaves, the next one can ingest.

    Args:
        instance: that of the data folder.
        new: captures to load.
        take: takes a capture; returns whether it can be worked on.
    """
    by_key = {item.capture.key: item for item in new}
    place = places(_partitions(instance))
    known = stretches((item.capture for item in new if item.capture.key in place), place)
    unknown = [item.capture for item in new if item.capture.key not in place]
    most = 1
    if len(new) > FEW:
        most = min(CAPTURES_PER_RUN, max(FEW, ceil(len(new) / cores())))
    for neighbours in (*known, unknown):
        for batch in batches(neighbours, most=most):
            taken = [capture for capture in batch if take(by_key[capture.key])]
            instance.add_dynamic_partitions(captures.name or "", [capture.key for capture in taken])
            # The service adds partitions too, and a capture that was not taken leaves a gap.
            for stretch in stretches(taken, places(_partitions(instance))):
                yield [capture.key for capture in stretch]


def _partitions(instance: dg.DagsterInstance) -> Sequence[str]:
    return instance.get_dynamic_partitions(captures.name or "")
