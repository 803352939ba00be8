"""How many processes `mt-pipeline ingest` uses. Known before Dagster is imported."""

from collections.abc import Sequence
from math import ceil

from mt_pipeline.cli.selection import Selected
from mt_pipeline.pipeline.run import BYTES_PER_RUN
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
