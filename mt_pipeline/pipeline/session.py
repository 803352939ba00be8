"""Opens a data folder for questions: its ledger, and the back end that answers."""

from pathlib import Path

from mt_pipeline.api.parquet import ParquetSource
from mt_pipeline.api.questdb import QuestDbSource
from mt_pipeline.api.question import Source
from mt_pipeline.api.session import Session
from mt_pipeline.backends.loads import BackendError, Unreachable
from mt_pipeline.backends.parquet import dataset
from mt_pipeline.backends.questdb import ddl, views
from mt_pipeline.captures.records import State
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline.system import private


class Incomplete(BackendError):
    """The Parquet data set lacks captures that are loaded."""


def session(workspace: Workspace, *, as_reader: bool = False) -> Session:
    """Open the data folder of a workspace for questions.

    Args:
        workspace: what belongs to the data folder.
        as_reader: ask QuestDB as its read-only user alone. It may not use HTTP, so many rows take
            longer.
    """
    return Session(
        workspace.ledger,
        workspace.inbox,
        lambda experiment: _source(workspace, experiment, as_reader=as_reader),
        workspace.questdb,
        workspace.options.temporary,
        workspace.limits,
    )


def bring_up_to_date(workspace: Workspace, experiment: str) -> None:
    """Add the columns that views of an older release lack. The read-only user cannot do that."""
    with workspace.database().connect() as connection:
        for table in (PACKETS, FLOWS):
            if views.has_view(connection, experiment, table):
                ddl.ensure_table(connection, table)
                views.ensure_view(connection, experiment, table)


def _source(workspace: Workspace, experiment: str, *, as_reader: bool) -> Source:
    """Return the first back end of the settings that is there.

    Raises:
        Unreachable: none is.
    """
    temporary = workspace.options.temporary
    private.folder(temporary)
    unreachable = None
    for name in workspace.options.backends:
        if name == "parquet":
            return _parquet(workspace, experiment, temporary, unreachable)
        try:
            http = None if as_reader else workspace.database()
            if http:
                bring_up_to_date(workspace, experiment)
            reading = workspace.reading()
            with reading.connect():
                pass
        except Unreachable as error:
            unreachable = error
        else:
            return QuestDbSource(reading, http, temporary)
    assert unreachable is not None  # noqa: S101  settings name at least one
    raise unreachable


def _parquet(
    workspace: Workspace, experiment: str, temporary: Path, unreachable: Unreachable | None
) -> Source:
    """Return the data set, if it has every capture of the experiment.

    Raises:
        Incomplete: captures were loaded before `parquet` was listed.
        Unreachable: so it is, and QuestDB, which has them, does not answer.
    """
    source = ParquetSource(workspace.options.data_dir / "parquet", temporary)
    files = source.files_of_flows(experiment)
    missing = [
        record.key
        for record in workspace.ledger.records(experiment=experiment)
        if record.state is State.DONE and record.rows and dataset.name_of(record.key) not in files
    ]
    if not missing:
        return source
    if unreachable:
        raise unreachable
    raise Incomplete(
        f"{len(missing):,} captures of {experiment} are not in data/parquet, {missing[0]} among "
        "them: `mt-pipeline ingest FILE` loads a capture again, without tshark"
    )
