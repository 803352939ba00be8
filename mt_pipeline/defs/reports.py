"""The reports of experiments: the asset, its job, and the sensor that has it made anew when an experiment has become quiet.

For the underlying concept, see https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import dagster as dg

from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.partitions import experiments
from mt_pipeline.pipeline.failures import EXPECTED, sentence
from mt_pipeline.pipeline.files import report_file
from mt_pipeline.pipeline.workspace import Workspace

QUIET_SECONDS = 60
"""A report is made when no capture of its experiment has changed for so long."""

MOST_TRIES = 2
"""A run may be cut off when the service stops; one that fails for another reason will do so again."""

MOST_PER_TICK = 5
"""Each is a run: captures must not wait for them."""


@dg.asset(
    partitions_def=experiments,
    deps=[dg.AssetDep("questdb_packets", partition_mapping=dg.AllPartitionMapping())],
    group_name="experiments",
    kinds={"html"},
    description="A page about an experiment, in one file that needs no network: `data/reports/<experiment>.html`.",
)
def experiment_report(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[None]:
    """Write the report of an experiment."""
    from mt_pipeline.pipeline.report import (
        NotOursError,
        report,
    )  # what draws takes a second to load, and runs of captures need none of it
    from mt_pipeline.web.reports import address

    experiment = context.partition_key
    try:
        written = report(workspace, experiment, report_file(workspace.options.data_dir, experiment))
    except (*EXPECTED, NotOursError) as error:
        raise dg.Failure(description=sentence(error), allow_retries=False) from None
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.url(
                address(experiment)
            ),  # below wherever this very link is shown
            "report": dg.MetadataValue.path(written.path),
            "page_bytes": written.size,  # `bytes` is traffic wherever it is plotted
            "packets": written.packets,
            "captures": written.captures,
            "seconds": round(written.seconds, 3),
        }
    )


report_experiments = dg.define_asset_job(
    "report_experiments",
    selection=dg.AssetSelection.assets(experiment_report),
    description="Write reports.",
)


@dataclass(frozen=True)
class Due:
    """An experiment whose report is older than its captures."""

    experiment: str
    changed: float
    tries: int

    @property
    def run_key(self) -> str:
        """What Dagster starts no second run of."""
        return f"{self.experiment}@{self.changed}/{self.tries}"


@dg.sensor(
    job=report_experiments,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def quiet_experiments(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Request a report of each experiment whose captures have changed since the last one, and then no more."""
    if not workspace.options.has_questdb:
        return dg.SkipReason("reports are made from QuestDB, which MT_BACKENDS leaves out")
    found = due(workspace, context.instance, quiet=QUIET_SECONDS)
    if not found:
        return dg.SkipReason(
            "there is no experiment that is quiet and has changed since its report was made"
        )
    known = set(context.instance.get_dynamic_partitions(experiments.name or ""))
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=one.run_key, partition_key=one.experiment) for one in found
        ],
        dynamic_partitions_requests=[
            experiments.build_add_request(
                [one.experiment for one in found if one.experiment not in known]
            )
        ],
    )


def due(workspace: Workspace, instance: dg.DagsterInstance, *, quiet: float) -> list[Due]:
    """List experiments whose report is to be made, a handful at a time, those first that have waited longest.

    Args:
        workspace: the rooms.
        instance: knows the runs that were to make one.
        quiet: seconds for which no capture of the experiment has changed.
    """
    of_experiment = defaultdict[str, list[Record]](list)
    for record in workspace.ledger.records():
        of_experiment[record.experiment].append(record)
    changes = sorted(
        (max(record.changed_at for record in records), name)
        for name, records in of_experiment.items()
        if _can_be_told(records)
    )
    before = time.time() - quiet
    tried = (
        Due(name, changed, tries)
        for changed, name in changes
        if changed <= before and (tries := _tries(workspace, instance, name, changed)) >= 0
    )
    return list(islice(tried, MOST_PER_TICK))


def _can_be_told(records: list[Record]) -> bool:
    """Say whether there are packets, and nothing that is at work on others; a report of what has expired stays as it is."""
    return any(record.rows and record.packets_expired_at is None for record in records) and not any(
        record.state is State.RUNNING for record in records
    )


def _tries(
    workspace: Workspace, instance: dg.DagsterInstance, experiment: str, changed: float
) -> int:
    """Count the runs since the last change that left no report; -1 if there is no need, or no use, in another one."""
    path = report_file(workspace.options.data_dir, experiment)
    with suppress(FileNotFoundError):
        if path.stat().st_mtime > changed:
            return -1
    of_it = dg.RunsFilter(job_name=report_experiments.name, tags={"dagster/partition": experiment})
    since = [
        run
        for run in instance.get_run_records(of_it, limit=MOST_TRIES)
        if run.create_timestamp.timestamp() > changed
    ]
    return (
        len(since)
        if len(since) < MOST_TRIES and all(run.dagster_run.is_finished for run in since)
        else -1
    )
