"""The reports of experiments: the asset, its job, and the sensor that launches it.

For the underlying concept, see https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import dagster as dg

from mt_pipeline.defs.markdown import link
from mt_pipeline.defs.partitions import experiments
from mt_pipeline.pipeline.failures import EXPECTED, sentence
from mt_pipeline.pipeline.files import report_file
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.web import addresses

QUIET_SECONDS = 60
"""A report is made when no capture of its experiment has changed for this time."""

MOST_TRIES = 2
"""Runs for one report. A run may end because the service stops; else another one fails, too."""

MOST_PER_TICK = 5
"""Reports that a tick requests. Each is a run, and captures must not wait for them."""


@dg.asset(
    partitions_def=experiments,
    deps=[dg.AssetDep("questdb_packets", partition_mapping=dg.AllPartitionMapping())],
    group_name="experiments",
    kinds={"html"},
    description="A page about an experiment, in one file that needs no network: "
    "`data/reports/<experiment>.html`.",
)
def experiment_report(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[None]:
    """Write the report of an experiment."""
    # The charts take a second to import, and runs of captures do not need them.
    from mt_pipeline.pipeline.report import NotOursError, report

    experiment = context.partition_key
    try:
        written = report(workspace, experiment, report_file(workspace.options.data_dir, experiment))
    except (*EXPECTED, NotOursError) as error:
        reason = sentence(error, folder=workspace.options.data_dir)
        raise dg.Failure(description=reason, allow_retries=False) from None
    return dg.MaterializeResult(
        metadata={
            # Relative to the address at which the browser sees Dagster.
            "page": link("read the report", addresses.report(experiment)),
            "explorer": link("explore this experiment", addresses.explorer(experiment)),
            "report": dg.MetadataValue.path(written.path),
            "page_bytes": written.size,  # `bytes` is traffic in all other plots
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
        """The key of a run. Dagster starts no second run with the same key."""
        return f"{self.experiment}@{self.changed}/{self.tries}"


@dg.sensor(
    job=report_experiments,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def quiet_experiments(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Request a report of each experiment that has changed since its last one, and is quiet."""
    if not workspace.options.has_questdb:
        return dg.SkipReason("reports are made from QuestDB, which MT_BACKENDS leaves out")
    reports = due(workspace, context.instance, quiet=QUIET_SECONDS)
    if not reports:
        return dg.SkipReason(
            "there is no experiment that is quiet and has changed since its report was made"
        )
    known = set(context.instance.get_dynamic_partitions(experiments.name or ""))
    new = [report.experiment for report in reports if report.experiment not in known]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=report.run_key, partition_key=report.experiment)
            for report in reports
        ],
        dynamic_partitions_requests=[experiments.build_add_request(new)],
    )


def due(workspace: Workspace, instance: dg.DagsterInstance, *, quiet: float) -> list[Due]:
    """List the reports to make now, at most MOST_PER_TICK. Those that wait longest come first.

    Args:
        workspace: the data folder.
        instance: the Dagster instance, which has the runs for earlier reports.
        quiet: seconds for which no capture of the experiment has changed.
    """
    # If all packets have expired, the last report stays as it is.
    changes = sorted(
        (experiment.changed_at, experiment.name)
        for experiment in workspace.ledger.experiments()
        if experiment.with_packets and not experiment.running
    )
    before = time.time() - quiet
    reports = (
        Due(name, changed, tries)
        for changed, name in changes
        if changed <= before and (tries := _tries(workspace, instance, name, changed)) >= 0
    )
    return list(islice(reports, MOST_PER_TICK))


def _tries(
    workspace: Workspace, instance: dg.DagsterInstance, experiment: str, changed: float
) -> int:
    """Count the runs since the last change that made no report; -1 if no other run is needed."""
    path = report_file(workspace.options.data_dir, experiment)
    with suppress(FileNotFoundError):
        if path.stat().st_mtime > changed:
            return -1
    runs = dg.RunsFilter(job_name=report_experiments.name, tags={"dagster/partition": experiment})
    since = [
        run
        for run in instance.get_run_records(runs, limit=MOST_TRIES)
        if run.create_timestamp.timestamp() > changed
    ]
    finished = all(run.dagster_run.is_finished for run in since)
    return len(since) if finished and len(since) < MOST_TRIES else -1
