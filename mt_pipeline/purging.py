"""`mt-pipeline purge`: takes out what was made of captures, while others go on. The captures themselves stay."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from mt_pipeline import setup
from mt_pipeline.captures.identity import experiment_of
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs import verdicts
from mt_pipeline.defs.files import CaptureFiles
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.questdb import loader, schema
from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.tables import FLOWS, PACKETS
from mt_pipeline.settings import Settings


class NothingToPurgeError(Exception):
    """There is no such capture or experiment."""


@dataclass(frozen=True)
class Plan:
    """What a purge will remove.

    Attributes:
        pipeline: the rooms.
        records: the captures.
    """

    pipeline: Pipeline
    records: list[Record]

    def described(self) -> list[str]:
        """Say it, a line per capture and one for all."""
        sizes = {record.key: CaptureFiles(self.pipeline.settings.data_dir, record.key).size() for record in self.records}
        lines = [
            f"{record.key}: {record.rows or 0:,} rows, {sizes[record.key]:,} bytes of files, its partition and its runs" for record in self.records
        ]
        rows = sum(record.rows or 0 for record in self.records)
        return [*lines, f"{len(self.records)} captures, {rows:,} rows, {sum(sizes.values()):,} bytes; the captures themselves stay"]


def plan(settings: Settings, *, key: str | None, experiment: str | None) -> Plan:
    """Find the captures of a purge.

    Raises:
        NothingToPurgeError: there are none.
    """
    pipeline = Pipeline(settings)
    folded = None if experiment is None else experiment_of(f"{experiment}/x")  # a folder's name will do
    records = [record for record in pipeline.ledger.records() if key in (None, record.key) and folded in (None, record.experiment)]
    if not records:
        raise NothingToPurgeError(f"no {'capture ' + key if key else f'experiment {experiment}'}; `mt-pipeline status` lists what there is")
    return Plan(pipeline, records)


def purge(planned: Plan, *, say: Callable[[str], None]) -> None:
    """Remove what was planned, capture by capture; one that is being worked on is waited for."""
    pipeline = planned.pipeline
    os.environ["DAGSTER_HOME"] = str(setup.prepare(pipeline.settings))
    with dg.DagsterInstance.get() as instance, pipeline.questdb():
        _purge_all(planned, pipeline.database(), instance, say)


def _purge_all(planned: Plan, database: Database, instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    ledger = planned.pipeline.ledger
    for record in planned.records:
        with ledger.lock(record.key):
            # In an order that a kill does no harm to: the next purge finds the rest.
            rows = loader.remove(database, record.key)
            size = CaptureFiles(planned.pipeline.settings.data_dir, record.key).delete()
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": record.key})):
                if run.is_finished:
                    instance.delete_run(run.run_id)
            instance.delete_dynamic_partition(captures.name or "", record.key)
            ledger.purge(record.key)
            verdicts.copy(planned.pipeline, record.key)
        say(f"{record.key}: {rows:,} rows and {size:,} bytes removed")
    left = {record.experiment for record in ledger.records() if record.state is not State.PURGED}
    with database.connect() as connection:
        for experiment in {record.experiment for record in planned.records} - left:
            for table in (FLOWS, PACKETS):
                schema.drop_view(connection, experiment, table)
