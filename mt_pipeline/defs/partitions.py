"""The partitions. Each capture has one, whose key is the capture key (`captures/naming.py`).

Each report has one, whose key is the folded name of the experiment.
"""

import dagster as dg

captures = dg.DynamicPartitionsDefinition(name="captures")
experiments = dg.DynamicPartitionsDefinition(name="experiments")


def forget(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, key: str
) -> None:
    """Delete a partition, and the finished runs of this partition alone."""
    for run in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": key})):
        if run.is_finished:
            instance.delete_run(run.run_id)
    instance.delete_dynamic_partition(partitions.name or "", key)
