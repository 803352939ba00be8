"""Brings the answers of loaded captures up to date, and loads captures again whose answers changed.

It does not run tshark: rows are made of the typed packets, or of the documents.
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path

from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment import changes
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.pipeline import captures_table, providers, rotation
from mt_pipeline.pipeline.failures import Failed, collecting
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.load import load_one
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.verdict import note_answers, note_done
from mt_pipeline.pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class Outcome(Enum):
    """What a refresh did with a capture."""

    RELOADED = "loaded again"
    UNCHANGED = "unchanged"
    EXPIRED = "left: their packets have expired"
    LEFT = "left: it is not loaded now, or waits for another run"


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
            outcome = _refresh_one(run, record.key, as_of=run.as_of, keeps_day=selection.owing)
            refreshed.outcomes[outcome] += 1
    catch_up(run, [record.key for record in refreshed.records])
    numbers = (f"{number} {outcome.value}" for outcome, number in refreshed.outcomes.items())
    log.info("%s captures: %s", len(refreshed.records), ", ".join(numbers))
    report_experiments(run, {record.experiment for record in refreshed.records})
    return refreshed


def due(workspace: Workspace, selection: Selection) -> list[Record]:
    """List the loaded captures that are selected.

    Captures with the answers of an earlier day are selected only by name.
    """
    named = selection.experiment or selection.capture or selection.with_past
    records = owing(workspace) if selection.owing else workspace.ledger.records()
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
            _refresh_one(run, key, as_of=None, keeps_day=True)


def report_experiments(run: Run, experiments: Iterable[str]) -> None:
    """Hand the observer the loaded captures of each experiment."""
    workspace = run.workspace
    calls = providers.calls(workspace.options)
    for experiment in sorted(experiments):
        records = workspace.ledger.records(experiment=experiment)
        done = [record for record in records if record.state is State.DONE]
        run.observer.experiment_answered(experiment, done, calls)


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
    for key, before in rotation.behind(workspace).items():
        if key not in tried and {key, before} & reached:
            return key
    return None


def _ask(run: Run, records: Sequence[Record]) -> Counts:
    """Ask about the endpoints of all captures at once, and store the answers.

    So a budget is spent on the endpoints with the most traffic of all captures.
    """
    paths = endpoints_of(run.workspace, records)
    chain, store = run.providers
    if store is None or not paths:
        return Counts()
    with tempfile.TemporaryDirectory(dir=run.workspace.options.data_dir) as folder:
        counts = enrich(paths, Path(folder) / "answers.parquet", providers=chain, store=store)
    numbers = f"{counts.endpoints:,} endpoints of {len(paths)} captures"
    results = f"{counts.asked:,} asked, {counts.owed:,} owed"
    stopped = f"; {counts.stopped}" if counts.stopped else ""
    log.info("%s: %s%s", numbers, results, stopped)
    return counts


def _refresh_one(run: Run, key: str, *, as_of: datetime | None, keeps_day: bool) -> Outcome:
    """Load a capture again if its stored answers have changed.

    Also load it again if it takes up something else from the file before it in its rotation.

    Args:
        run: the run that it is part of.
        key: the capture key.
        as_of: take the answers of that moment; None for those of now.
        keeps_day: whether a capture with the answers of an earlier day keeps that day, unless its
            load broke off.
    """
    started, ledger = time.monotonic(), run.workspace.ledger
    with ledger.lock(key) as record:
        if record is None or record.state is not State.DONE or record.documents is None:
            return Outcome.LEFT
        if record.packets_expired_at is not None:
            return Outcome.EXPIRED
        if keeps_day and record.as_of and record.answers is not None:
            as_of = datetime.fromisoformat(record.as_of)
        with closing(
            Stages(run, key, inputs=record.documents, sha256=record.sha256 or "", cut=record.cut)
        ) as stages:
            stages.derived.continue_rotation(default=record.follows)
            stages.answer(ask=False, as_of=as_of)
            answers = stages.files.enrichment(stages.inputs)
            follows_same = stages.files.follows == record.follows
            if follows_same and changes.fingerprint(answers) == record.answers:
                note_answers(stages)
                captures_table.update_owed(run.workspace, record, changes.count_owed(answers))
                return Outcome.UNCHANGED
            if not follows_same:
                stages.find_endpoints()
            stages.report_answers(seconds=time.monotonic() - started)
            # A kill during the load leaves rows with old and with new answers.
            # Without a fingerprint, the next refresh loads the capture again.
            ledger.answered(key, answers=None, owed=record.owed)
            _load_again(run, stages)
    return Outcome.RELOADED


def _load_again(run: Run, stages: Stages) -> None:
    load = load_one(run, stages.key, stages.sources())
    stages.report_rows(load)
    note_done(stages, load.loaded)
    captures_table.copy(
        run.workspace,
        stages.key,
        stored=load.stored,
        counts=stages.counts,
        seconds=stages.seconds,
    )
    run.workspace.ledger.check(stages.key)
    stages.files.keep_only(stages.inputs)
