"""The partitions: one per capture, added by the sensor and by `mt-pipeline ingest`. The key is the capture key (`captures/naming.py`).

Reports have one per experiment, added when the first of it is asked for; the key is the folded name.
"""

import dagster as dg

captures = dg.DynamicPartitionsDefinition(name="captures")
experiments = dg.DynamicPartitionsDefinition(name="experiments")


def forget(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, key: str
) -> None:
    """Delete a partition, and the runs that were of it alone."""
    for run in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": key})):
        if run.is_finished:
            instance.delete_run(run.run_id)
    instance.delete_dynamic_partition(partitions.name or "", key)
