"""`mt-pipeline report`, and what the asset of reports calls: the page of an experiment as a file. What is on it is the business of `report/`."""

import os
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import maxminddb

from mt_pipeline.backends.questdb import ddl, views
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record, State
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.report.page import GENERATOR, Made, render
from mt_pipeline.report.queries import Experiment, NoExperiment
from mt_pipeline.report.sources import Files
from mt_pipeline.report.summary import summarise
from mt_pipeline.system.atomic import whole
from mt_pipeline.system.nearest import did_you_mean
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkError

_HEAD = 1000  # bytes of a page in which its maker is named


class NotOursError(CommandError):
    """The file that a report would replace is no report."""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        experiment: folded name.
        path: the file.
        size: its bytes.
        packets: that it is about.
        captures: that it is about.
        seconds: that it took.
    """

    experiment: str
    path: Path
    size: int
    packets: int
    captures: int
    seconds: float


def report(workspace: Workspace, name: str, output: Path | None = None) -> Report:
    """Write the report of an experiment, over an earlier one if there is one; QuestDB is running.

    Args:
        workspace: the data folder.
        name: of the experiment, as its folder or folded.
        output: the file; `report-<experiment>.html` where we are by default.

    Raises:
        NoExperiment: there is no row of it.
        NotOursError: the file is something else.
        OSError: it cannot be written.
    """
    started, now = time.monotonic(), datetime.now(UTC)
    experiment = fold_experiment(name)
    path = output or Path(f"report-{experiment}.html")
    _check_ours(path)
    _check_packets(workspace, experiment)
    _bring_up_to_date(workspace, experiment)
    with workspace.reading().connect() as connection:
        try:
            summary = summarise(Experiment(connection, experiment))
        except NoExperiment as error:
            raise NoExperiment(
                f"{error}{did_you_mean(experiment, (record.experiment for record in workspace.ledger.records()))}"
            ) from None
    page = render(experiment, summary, _made(workspace, experiment), now=now)
    with whole(path) as partial:
        partial.write_text(page, encoding="utf-8")
        os.utime(
            partial, (now.timestamp(), now.timestamp())
        )  # what is loaded while we ask is newer than the page
        _check_ours(path)  # to ask took a while
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
                    f"{path} is there and is no report of ours: it stays as it is; name another file by --output"
                )


def _bring_up_to_date(workspace: Workspace, experiment: str) -> None:
    """Give the view of an older release the columns that it lacks, which a user who may only read cannot."""
    with workspace.database().connect() as connection:
        if views.has_view(connection, experiment):
            ddl.ensure_table(connection)
            views.ensure_view(connection, experiment)


def _check_packets(workspace: Workspace, experiment: str) -> None:
    loaded = [
        record
        for record in workspace.ledger.records(experiment=experiment)
        if record.state is State.DONE
    ]
    if loaded and all(record.packets_expired_at is not None for record in loaded):
        raise NoExperiment(
            f"the packets of {experiment} have expired, and a report is made of packets: `mt-pipeline ingest` loads captures again; "
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
        return Made(records, None, frozenset(), _files(workspace.options))
    return Made(
        records,
        tshark.version,
        frozenset(key for key, record in records.items() if _was_read_by(tshark, record)),
        _files(workspace.options),
    )


def _was_read_by(tshark: Tshark, record: Record) -> bool:
    """Say whether this version made the documents: their name tells."""
    made = documents.inputs_hash(
        tshark, sha256=record.sha256 or "", display_filter=record.filter or ""
    )
    return record.sha256 is not None and record.documents == made


def _files(options: Options) -> Files:
    if "offline" not in options.providers:
        return Files()
    kind = None
    if options.offline_city_mmdb:
        with closing(maxminddb.open_database(options.offline_city_mmdb)) as city:
            kind = city.metadata().database_type
    return Files(city=kind, apps=options.offline_apps is not None)
