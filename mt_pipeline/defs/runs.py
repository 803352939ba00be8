"""Which captures share a run, how Dagster is told of them, and which captures a run is about.

A run costs a second or two, however small its captures, so small ones share it. Dagster knows a run of several as a range over the order of
partitions, so only neighbours in that order can share one. When runs are asked for is the business of the sensor and of the terminal.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from mt_pipeline.captures.identity import Capture

CAPTURES_PER_RUN = 50

BYTES_PER_RUN = 200_000_000
"""Larger captures are apart, so that several are worked on at once: ten seconds of work, beside which the start of a run is little."""

PRIORITY = "dagster/priority"
"""Tag of a run: the queue starts those with a higher number first. Runs that people launch in the UI have 0, unless they add it."""

DROPPED, ARCHIVE = "2", "1"

BY_SENSOR = "mt_pipeline/by_sensor"
"""Tag of the runs that the sensor asks for: they do what is still to be done, and a run of a person does it once more."""

_PARTITION, _FIRST, _LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


def batches(
    captures: Iterable[Capture], *, most: int = CAPTURES_PER_RUN
) -> Iterator[list[Capture]]:
    """Cut captures into batches, in their order; one that was in a run that died is alone, as it may be what kills runs."""
    batch: list[Capture] = []
    for capture in captures:
        full = len(batch) == most or sum(one.size for one in batch) + capture.size > BYTES_PER_RUN
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
        place: of each key in the order of partitions.
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
    """Make the tags of a run of one capture, or of several neighbours."""
    return {_PARTITION: keys[0]} if len(keys) == 1 else {_FIRST: keys[0], _LAST: keys[-1]}


def covered(runs: Iterable[dg.DagsterRun], partitions: Sequence[str]) -> set[str]:
    """List the captures that some runs are about.

    Args:
        runs: any.
        partitions: all, in their order.
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
    """Number the partitions in their order."""
    return {key: number for number, key in enumerate(partitions)}
