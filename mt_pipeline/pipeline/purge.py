"""`mt-pipeline purge`: deletes what was made of captures, while other captures are loaded. The captures themselves stay."""

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
"""With so much free disk rows are deleted before files, so that a kill leaves a capture whole."""


class NotPurgedError(CommandError):
    """Some captures could not be removed."""


@dataclass(frozen=True)
class Plan:
    """What a purge will delete.

    Attributes:
        workspace: the data folder.
        records: the captures.
    """

    workspace: Workspace
    records: list[Record]

    def lines(self) -> list[str]:
        """Describe it, a line per capture and one for all."""
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
    """On a full disk delete files first, before anything is opened that needs room.

    A run makes them again, should a kill come before the rows are deleted.
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
    """Delete what was planned, capture by capture; one that is being worked on is waited for. QuestDB is running.

    Args:
        planned: what to delete.
        forget_capture: deletes what others keep of a capture key, such as its partition.
        forget_experiment: likewise of an experiment that has no capture any more.
        echo: receives a line for each capture.

    Raises:
        NotPurgedError: some could not be removed; the others are.
    """
    workspace = planned.workspace
    data, ledger, backends = workspace.options.data_dir, workspace.ledger, workspace.backends()
    failures: list[Failed] = []
    for record in planned.records:
        with collecting(record.key, failures), ledger.lock(record.key) as now:
            # In an order in which a kill does no harm: the next purge finds the rest.
            rows = max([backend.remove(record.key) for backend in backends])
            size = CaptureFiles(data, record.key).delete()
            forget_capture(record.key)
            if now:  # else it was forgotten meanwhile, as its file went before it was loaded
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
