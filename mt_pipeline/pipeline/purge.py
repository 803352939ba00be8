"""`mt-pipeline purge`: takes out what was made of captures, while others go on. The captures themselves stay."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from mt_pipeline.captures.identity import experiment_named
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs import backends
from mt_pipeline.defs.backends import Backend
from mt_pipeline.defs.failures import Failed, apart
from mt_pipeline.defs.partitions import captures, experiments
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.files import CaptureFiles, report_file
from mt_pipeline.pipeline.workspace import Pipeline
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings

_ENOUGH_BYTES = 500 * 10**6
"""With so much free disk rows can be removed first, so that a kill leaves a capture whole."""


class NotPurgedError(CommandError):
    """Captures could not be removed, the others are."""


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
        lines = [f"{record.key}: {_rows(record):,} rows, {sizes[record.key]:,} bytes of files, its partition and its runs" for record in self.records]
        rows = sum(map(_rows, self.records))
        return [*lines, f"{len(self.records)} captures, {rows:,} rows, {sum(sizes.values()):,} bytes; the captures themselves stay"]


def plan(settings: Settings, *, key: str | None, experiment: str | None) -> Plan:
    """Find the captures of a purge.

    Raises:
        UnknownNameError: there are none.
    """
    pipeline = Pipeline(settings)
    folded = None if experiment is None else experiment_named(experiment)
    known = pipeline.ledger.records()
    check_known(known, key=key, experiment=experiment)
    return Plan(pipeline, [record for record in known if key in (None, record.key) and folded in (None, record.experiment)])


def purge(planned: Plan, *, say: Callable[[str], None]) -> None:
    """Remove what was planned, capture by capture; one that is being worked on is waited for."""
    pipeline = planned.pipeline
    _make_room(planned)
    with dagster_home.opened(pipeline.settings) as dagster, pipeline.questdb():
        _purge_all(planned, backends.opened(pipeline), dagster, say)


def _rows(record: Record) -> int:
    return record.rows or 0 if record.packets_expired_at is None else 0


def _purge_all(planned: Plan, opened: Sequence[Backend], dagster: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    ledger = planned.pipeline.ledger
    failures: list[Failed] = []
    for record in planned.records:
        with apart(record.key, failures), ledger.lock(record.key) as now:
            # In an order that a kill does no harm to: the next purge finds the rest.
            rows = max([backend.remove(record.key) for backend in opened])
            size = CaptureFiles(planned.pipeline.settings.data_dir, record.key).delete()
            _forget(dagster, captures, record.key)
            if now:  # else it was forgotten meanwhile, as its file went before it was loaded
                ledger.purge(record.key)
                captures_table.copy(planned.pipeline, record.key)
            say(f"{record.key}: {rows:,} rows and {size:,} bytes removed")
    left = {record.experiment for record in ledger.records() if record.state is not State.PURGED}
    for experiment in {record.experiment for record in planned.records} - left:
        for backend in opened:
            backend.forget(experiment)
        report_file(planned.pipeline.settings.data_dir, experiment).unlink(missing_ok=True)
        _forget(dagster, experiments, experiment)
    if failures:
        raise NotPurgedError(
            f"{len(failures):,} of {len(planned.records):,} captures were not removed: {'; '.join(one.reason for one in failures[:5])}"
        )


def _make_room(planned: Plan) -> None:
    """On a full disk delete files before anything is opened that needs room: a run makes them again, should a kill come before the rows are gone."""
    data = planned.pipeline.settings.data_dir
    if shutil.disk_usage(data).free > _ENOUGH_BYTES:
        return
    for record in planned.records:
        with planned.pipeline.ledger.lock(record.key):
            CaptureFiles(data, record.key).delete()


def _forget(dagster: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, key: str) -> None:
    """Let Dagster forget a partition, and the runs that were of it alone."""
    for run in dagster.get_runs(dg.RunsFilter(tags={"dagster/partition": key})):
        if run.is_finished:
            dagster.delete_run(run.run_id)
    dagster.delete_dynamic_partition(partitions.name or "", key)
