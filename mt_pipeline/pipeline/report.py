"""Writes the report of an experiment to a file. `report/` decides what is on the page."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import State
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline.provenance import files_of, was_read_by
from mt_pipeline.pipeline.session import bring_up_to_date
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.report.page import GENERATOR, Made, render
from mt_pipeline.report.queries import Experiment, NoExperiment
from mt_pipeline.report.summary import summarise
from mt_pipeline.system.atomic import whole
from mt_pipeline.system.nearest import did_you_mean
from mt_pipeline.tshark.errors import TsharkError

_HEAD = 1000  # bytes at the start of a page that name the program which made it


class NotOursError(CommandError):
    """The file that a report would replace is not a report."""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        experiment: the folded name.
        path: the file.
        size: bytes of the file.
        packets: number of packets of the experiment.
        captures: number of captures of the experiment.
        seconds: the time that it took.
    """

    experiment: str
    path: Path
    size: int
    packets: int
    captures: int
    seconds: float


def report(workspace: Workspace, name: str, output: Path | None = None) -> Report:
    """Write the report of an experiment, and replace an earlier one. QuestDB is running.

    Args:
        workspace: the data folder.
        name: name of the experiment: that of its folder, or the folded one.
        output: the file; by default `report-<experiment>.html` in the current folder.

    Raises:
        NoExperiment: the experiment has no rows.
        NotOursError: the file exists, and is not a report.
        OSError: the file cannot be written.
    """
    started, now = time.monotonic(), datetime.now(UTC)
    experiment = fold_experiment(name)
    path = output or Path(f"report-{experiment}.html")
    _check_ours(path)
    _check_packets(workspace, experiment)
    bring_up_to_date(workspace, experiment)
    with workspace.reading().connect() as connection:
        try:
            summary = summarise(Experiment(connection, experiment))
        except NoExperiment as error:
            known = (record.experiment for record in workspace.ledger.records())
            raise NoExperiment(f"{error}{did_you_mean(experiment, known)}") from None
    page = render(experiment, summary, _made(workspace, experiment), now=now)
    with whole(path) as partial:
        partial.write_text(page, encoding="utf-8")
        # The time at which the queries began: captures loaded since then are newer than the page.
        os.utime(partial, (now.timestamp(), now.timestamp()))
        _check_ours(path)  # again, as the queries took a while
    return Report(
        experiment,
        path,
        path.stat().st_size,
        summary.all.packets,
        len(summary.captures),
        time.monotonic() - started,
    )


def _check_ours(path: Path) -> None:
    if path.exists():
        with path.open("rb") as file:
            if f'content="{GENERATOR} '.encode() not in file.read(_HEAD):
                raise NotOursError(
                    f"{path} is there and is no report of ours: it stays as it is; "
                    "name another file by --output"
                )


def _check_packets(workspace: Workspace, experiment: str) -> None:
    loaded = [
        record
        for record in workspace.ledger.records(experiment=experiment)
        if record.state is State.DONE
    ]
    if loaded and all(record.packets_expired_at is not None for record in loaded):
        raise NoExperiment(
            f"the packets of {experiment} have expired, and a report is made of packets: "
            "`mt-pipeline ingest` loads captures again; "
            f"its flows are in flows_{experiment}"
        )


def _made(workspace: Workspace, experiment: str) -> Made:
    records = {
        record.key: record
        for record in workspace.ledger.records(experiment=experiment)
        if record.state is not State.PURGED
    }
    try:
        tshark = workspace.tshark
    except TsharkError:  # a report needs none
        return Made(records, None, frozenset(), files_of(workspace.options))
    return Made(
        records,
        tshark.version,
        frozenset(key for key, record in records.items() if was_read_by(tshark, record)),
        files_of(workspace.options),
    )
