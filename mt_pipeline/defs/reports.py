"""The reports of experiments: the asset, its job, and the sensor that has it made anew when an experiment has become quiet.

For the underlying concept, see https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import time
from collections import defaultdict

import dagster as dg

from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.failures import EXPECTED, sentence
from mt_pipeline.defs.files import report_file
from mt_pipeline.defs.partitions import experiments
from mt_pipeline.defs.resources import Pipeline

QUIET_SECONDS = 60
"""A report is made when no capture of its experiment has changed for so long."""

MOST_PER_TICK = 5
"""Each is a run: captures must not wait for them."""


@dg.asset(
    partitions_def=experiments,
    deps=[dg.AssetDep("questdb_packets", partition_mapping=dg.AllPartitionMapping())],
    group_name="experiments",
    kinds={"html"},
    description="A page about an experiment, in one file that needs no network: `data/reports/<experiment>.html`.",
)
def experiment_report(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult[None]:
    """Write the report of an experiment."""
    from mt_pipeline.reporting import NotOursError, report  # what draws takes a second to load, and runs of captures need none of it

    experiment = context.partition_key
    try:
        written = report(pipeline, experiment, report_file(pipeline.settings.data_dir, experiment))
    except (*EXPECTED, NotOursError) as error:
        raise dg.Failure(description=sentence(error), allow_retries=False) from None
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(written.path),
            "bytes": written.size,
            "packets": written.packets,
            "captures": written.captures,
            "seconds": round(written.seconds, 3),
        }
    )


report_experiments = dg.define_asset_job("report_experiments", selection=dg.AssetSelection.assets(experiment_report), description="Write reports.")


@dg.sensor(job=report_experiments, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def quiet_experiments(context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.SensorResult | dg.SkipReason:
    """Request a report of each experiment whose captures have changed since the last one, and then no more; the cursor is the last such change."""
    done, quiet = float(context.cursor or 0), time.time() - QUIET_SECONDS
    of_experiment = defaultdict[str, list[Record]](list)
    for record in pipeline.ledger.records():
        of_experiment[record.experiment].append(record)
    changes = sorted((max(record.changed_at for record in records), name) for name, records in of_experiment.items() if _has_rows(records))
    due = [(changed, name) for changed, name in changes if done < changed <= quiet][:MOST_PER_TICK]
    if not due:
        return dg.SkipReason(f"{len(changes)} experiments, none of them new and quiet")
    known = context.instance.get_dynamic_partitions(experiments.name or "")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{name}@{changed}", partition_key=name) for changed, name in due],
        dynamic_partitions_requests=[experiments.build_add_request([name for _, name in due if name not in known])],
        cursor=str(due[-1][0]),
    )


def _has_rows(records: list[Record]) -> bool:
    """Say whether there is something to report; what is at work will change once more, and then counts."""
    return any(record.rows for record in records) and not any(record.state is State.RUNNING for record in records)
