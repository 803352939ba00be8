"""Brings the answers of loaded captures up to date, and loads captures again whose answers changed.

`reload.py` loads one of them.
"""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.pipeline import providers, rotation
from mt_pipeline.pipeline.failures import Failed, collecting
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.reload import Outcome, refresh_one
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system import scratch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Selects the captures of a refresh.

    Attributes:
        experiment: only captures of this experiment.
        capture: only this capture.
        owing: only captures that lack answers, or are behind the file before them in their
            rotation.
        with_past: also captures that have the answers of an earlier day.
    """

    experiment: str | None = None
    capture: str | None = None
    owing: bool = False
    with_past: bool = False


@dataclass
class Refreshed:
    """The result of a refresh.

    Attributes:
        records: the captures that were selected.
        outcomes: number of captures for each outcome.
        failures: the captures that failed.
        owed: answers that providers still owe.
        stopped: why a provider stopped; None if none did, or nobody was asked.
    """

    records: Sequence[Record]
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    failures: list[Failed] = field(default_factory=list)
    owed: int = 0
    stopped: str | None = None


def refresh(run: Run, selection: Selection) -> Refreshed:
    """Refresh captures one by one. A capture that fails does not stop the others.

    Args:
        run: the run. If it has `as_of`, the stored answers of that moment are loaded, and nobody
            is asked.
        selection: selects the captures.
    """
    refreshed = Refreshed(due(run.workspace, selection))
    if run.as_of is None:
        counts = _ask(run, refreshed.records)
        refreshed.owed, refreshed.stopped = counts.owed, counts.stopped
    folder = run.workspace.options.data_dir
    for record in refreshed.records:
        with collecting(record.key, refreshed.failures, folder=folder, ends_on=()):
            outcome = refresh_one(run, record.key, as_of=run.as_of, keeps_day=selection.owing)
            refreshed.outcomes[outcome] += 1
    catch_up(run, [record.key for record in refreshed.records])
    numbers = (f"{number} {outcome.value}" for outcome, number in refreshed.outcomes.items())
    log.info("%s captures: %s", len(refreshed.records), ", ".join(numbers))
    report_experiments(run, {record.experiment for record in refreshed.records})
    return refreshed


def due(workspace: Workspace, selection: Selection) -> list[Record]:
    """List the loaded captures that are selected.

    Captures with the answers of an earlier day are selected only by name. The newest come first, as
    a refresh after a new release takes long, but those that owe something in their own order.
    """
    named = selection.experiment or selection.capture or selection.with_past
    records = (
        owing(workspace)
        if selection.owing
        else sorted(workspace.ledger.records(), key=lambda record: -record.mtime_ns)
    )
    return [
        record
        for record in records
        if record.state is State.DONE
        and selection.experiment in (None, record.experiment)
        and selection.capture in (None, record.key)
        and (named or selection.owing or record.as_of is None or record.answers is None)
    ]


def owing(workspace: Workspace) -> list[Record]:
    """List the loaded captures that need a refresh; those of rotations first, in their order."""
    behind = rotation.behind(workspace)
    records = (workspace.ledger.get(key) for key in behind)
    others = (record for record in workspace.ledger.due_for_refresh() if record.key not in behind)
    return [*(record for record in records if record), *others]


def catch_up(run: Run, keys: Iterable[str]) -> None:
    """Load the captures again that are behind these in their rotation, and those after them.

    Of two neighbours, the load that ends last finds that the later file is behind, whichever was
    loaded first. A capture that fails here is left to the next refresh.
    """
    reached, tried = set(keys), set[str]()
    while key := _next_behind(run.workspace, reached, tried):
        tried.add(key)
        reached.add(key)
        with collecting(key, [], folder=run.workspace.options.data_dir, ends_on=()):
            refresh_one(run, key, as_of=None, keeps_day=True)


def report_experiments(run: Run, experiments: Iterable[str]) -> None:
    """Hand the observer the answers of each experiment."""
    workspace = run.workspace
    calls = providers.calls(workspace.options)
    for experiment in sorted(experiments):
        answers = workspace.ledger.answers(experiment)
        run.observer.experiment_answered(experiment, answers, calls)


def endpoints_of(workspace: Workspace, records: Sequence[Record]) -> list[Path]:
    """List the endpoint files of captures, as far as they exist."""
    data = workspace.options.data_dir
    paths = [
        CaptureFiles(data, record.key, record.follows).endpoints(record.documents)
        for record in records
        if record.documents
    ]
    return [path for path in paths if path.exists()]


def _next_behind(workspace: Workspace, reached: set[str], tried: set[str]) -> str | None:
    for key, before in rotation.behind(workspace, reached).items():
        if key not in tried and {key, before} & reached:
            return key
    return None


def _ask(run: Run, records: Sequence[Record]) -> Counts:
    """Ask about the endpoints of all captures at once, and store the answers.

    So a budget is spent on the endpoints with the most traffic of all captures.
    """
    paths = endpoints_of(run.workspace, records)
    chain, store = run.providers
    data = run.workspace.options.data_dir
    if store is None or not paths:
        return Counts()
    with tempfile.TemporaryDirectory(dir=scratch.near(data)) as folder:
        counts = enrich(
            paths,
            Path(folder) / "answers.parquet",
            providers=chain,
            store=store,
            all_names=run.workspace.options.asks_all_names,
        )
    numbers = f"{counts.endpoints:,} endpoints of {len(paths)} captures"
    results = f"{counts.asked:,} asked, {counts.owed:,} owed"
    stopped = f"; {counts.stopped}" if counts.stopped else ""
    log.info("%s: %s%s", numbers, results, stopped)
    return counts
