"""Divides captures into runs, and finds the captures of a run.

A run costs a second or two, so small captures share one. To Dagster, a run of several captures is a
range in the order of partitions, so only neighbours in that order can share a run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from mt_pipeline.captures.identity import Capture
from mt_pipeline.pipeline.run import BYTES_PER_RUN

CAPTURES_PER_RUN = 50

PRIORITY = "dagster/priority"
"""Tag of a run. The queue starts runs with a higher number first. A run that a person launches in
the UI has 0, unless they add the tag."""

DROPPED, ARCHIVE = "2", "1"

BY_SENSOR = "mt_pipeline/by_sensor"
"""Tag of the runs that the sensor requests. They skip captures that are already loaded."""

_PARTITION, _FIRST, _LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


def batches(
    captures: Iterable[Capture], *, most: int = CAPTURES_PER_RUN
) -> Iterator[list[Capture]]:
    """Cut captures into batches, in their order.

    A capture whose last run died gets a batch of its own, as it may be what kills runs.
    """
    batch: list[Capture] = []
    for capture in captures:
        size = sum(member.size for member in batch) + capture.size
        full = len(batch) == most or size > BYTES_PER_RUN
        if batch and (full or capture.attempts or batch[-1].attempts):
            yield batch
            batch = []
        batch.append(capture)
    if batch:
        yield batch


def stretches(captures: Iterable[Capture], place: Mapping[str, int]) -> Iterator[list[Capture]]:
    """Cut captures that are partitions into stretches of neighbours.

    Args:
        captures: in any order.
        place: the position of each key in the order of partitions.
    """
    stretch: list[Capture] = []
    for capture in sorted(captures, key=lambda capture: place[capture.key]):
        if stretch and place[capture.key] != place[stretch[-1].key] + 1:
            yield stretch
            stretch = []
        stretch.append(capture)
    if stretch:
        yield stretch


def tags_of(keys: Sequence[str]) -> dict[str, str]:
    """Return the tags of a run of one capture, or of several neighbours."""
    return {_PARTITION: keys[0]} if len(keys) == 1 else {_FIRST: keys[0], _LAST: keys[-1]}


def covered(runs: Iterable[dg.DagsterRun], partitions: Sequence[str]) -> set[str]:
    """Return the keys of the captures of runs.

    Args:
        runs: runs with the tags of `tags_of`.
        partitions: all partitions, in their order.
    """
    place = places(partitions)
    keys: set[str] = set()
    for run in runs:
        if key := run.tags.get(_PARTITION):
            keys.add(key)
        elif (first := place.get(run.tags.get(_FIRST, ""))) is not None and (
            last := place.get(run.tags.get(_LAST, ""))
        ) is not None:
            keys.update(partitions[first : last + 1])
    return keys


def places(partitions: Sequence[str]) -> dict[str, int]:
    """Return the position of each partition."""
    return {key: number for number, key in enumerate(partitions)}
