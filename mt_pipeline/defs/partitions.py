"""The partitions. Each capture has one, whose key is the capture key (`captures/naming.py`).

Each report has one, whose key is the folded name of the experiment.
"""

from collections.abc import Iterable

import dagster as dg

captures = dg.DynamicPartitionsDefinition(name="captures")
experiments = dg.DynamicPartitionsDefinition(name="experiments")

_BATCH = 1000


def restore(instance: dg.DagsterInstance, keys: Iterable[str]) -> int:
    """Create the partitions of captures that Dagster does not know, such as in a new storage.

    Returns:
        Their number.
    """
    known = set(instance.get_dynamic_partitions(captures.name or ""))
    unknown = [key for key in keys if key not in known]
    for start in range(0, len(unknown), _BATCH):
        instance.add_dynamic_partitions(captures.name or "", unknown[start : start + _BATCH])
    return len(unknown)


def forget(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, key: str
) -> None:
    """Delete a partition, and the finished runs of this partition alone."""
    for run in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": key})):
        if run.is_finished:
            instance.delete_run(run.run_id)
    instance.delete_dynamic_partition(partitions.name or "", key)
