"""How `mt-pipeline ingest` cuts captures into runs, and how many processes it gives them."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import dagster as dg

from mt_pipeline.cli.selection import Selected
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import BYTES_PER_RUN, CAPTURES_PER_RUN, batches, places, stretches
from mt_pipeline.system.processes import cores

FEW = 10
"""Up to this many small captures run in this process: they end before another process has started.

Each has a run of its own then, which `purge` can delete.
"""


def worker_count(new: Sequence[Selected]) -> int:
    """Return how many processes to use: one per core, unless there are few bytes and captures."""
    size = sum(item.capture.size for item in new)
    useful = max(ceil(len(new) / FEW), ceil(size / BYTES_PER_RUN))
    return min(cores(), useful, len(new))


def runs(
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
