"""Deletes what was made of captures, for `mt-pipeline purge`. The capture files stay."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record, State
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.failures import Failed, collecting
from mt_pipeline.pipeline.files import CaptureFiles, report_file
from mt_pipeline.pipeline.workspace import Workspace

_ENOUGH_BYTES = 500 * 10**6
"""With at least this much free disk, rows are deleted before files."""


class NotPurgedError(CommandError):
    """Some captures could not be purged."""


@dataclass(frozen=True)
class Plan:
    """The captures that a purge will delete.

    Attributes:
        workspace: the data folder.
        records: the captures.
    """

    workspace: Workspace
    records: list[Record]

    def lines(self) -> list[str]:
        """Describe the plan: a line for each capture, and one for all."""
        data = self.workspace.options.data_dir
        sizes = {record.key: CaptureFiles(data, record.key).size() for record in self.records}
        rows = {record.key: _rows(record) for record in self.records}
        total = f"{sum(rows.values()):,} rows, {sum(sizes.values()):,} bytes"
        return [
            *(
                f"{key}: {rows[key]:,} rows, {size:,} bytes of files, its partition and its runs"
                for key, size in sizes.items()
            ),
            f"{len(self.records)} captures, {total}; the captures themselves stay",
        ]


def plan(workspace: Workspace, *, key: str | None, experiment: str | None) -> Plan:
    """Find the captures of a purge.

    Raises:
        UnknownNameError: there are none.
    """
    folded = None if experiment is None else fold_experiment(experiment)
    known = workspace.ledger.records()
    check_known(known, key=key, experiment=experiment)
    chosen = [
        record
        for record in known
        if key in (None, record.key) and folded in (None, record.experiment)
    ]
    return Plan(workspace, chosen)


def make_room(planned: Plan) -> None:
    """On a full disk, delete the files first, before QuestDB is opened, which needs room.

    If a kill comes before the rows are deleted, the next run makes the files again.
    """
    data = planned.workspace.options.data_dir
    if shutil.disk_usage(data).free > _ENOUGH_BYTES:
        return
    for record in planned.records:
        with planned.workspace.ledger.lock(record.key):
            CaptureFiles(data, record.key).delete()


def purge(
    planned: Plan,
    *,
    forget_capture: Callable[[str], None],
    forget_experiment: Callable[[str], None],
    echo: Callable[[str], None],
) -> None:
    """Delete what was planned, capture by capture. Wait for the lock of each. QuestDB is running.

    Args:
        planned: the captures.
        forget_capture: called with each capture key, to delete its partition.
        forget_experiment: called with each experiment that has no capture left.
        echo: receives a line for each capture.

    Raises:
        NotPurgedError: some could not be purged; the others are.
    """
    workspace = planned.workspace
    data, ledger, backends = workspace.options.data_dir, workspace.ledger, workspace.backends()
    failures: list[Failed] = []
    for record in planned.records:
        with (
            collecting(record.key, failures, folder=data, loads=False),
            ledger.lock(record.key) as now,
        ):
            # The ledger comes last, so that a purge after a kill finds the rest.
            ledger.check(record.key)
            rows = max([backend.remove(record.key) for backend in backends])
            ledger.check(record.key)
            size = CaptureFiles(data, record.key).delete()
            forget_capture(record.key)
            if now:  # else a run has forgotten it, because its file was deleted
                ledger.purge(record.key)
                captures_table.copy(workspace, record.key)
            echo(f"{record.key}: {rows:,} rows and {size:,} bytes removed")
    left = {record.experiment for record in ledger.records() if record.state is not State.PURGED}
    for experiment in {record.experiment for record in planned.records} - left:
        for backend in backends:
            backend.forget(experiment)
        report_file(data, experiment).unlink(missing_ok=True)
        forget_experiment(experiment)
    if failures:
        number = f"{len(failures):,} of {len(planned.records):,}"
        reasons = "; ".join(failure.reason for failure in failures[:5])
        raise NotPurgedError(f"{number} captures were not removed: {reasons}")


def _rows(record: Record) -> int:
    return record.rows or 0 if record.packets_expired_at is None else 0
