"""The job `refresh_answers`: asks what has expired or is still owed, and loads the captures again whose answers changed, from their documents.

For the underlying concept, see https://docs.dagster.io/guides/build/ops
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime
from enum import Enum
from pathlib import Path

import dagster as dg

from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.checked import Checked
from mt_pipeline.defs.events import Context
from mt_pipeline.defs.failures import EXPECTED, Failed, failed, failure, is_interrupt
from mt_pipeline.defs.observing import observe_experiments
from mt_pipeline.enrichment import changes
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.pipeline import captures_table, providers, rotation
from mt_pipeline.pipeline.as_of import moment
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.load import load_one
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.workspace import Pipeline

log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a capture."""

    RELOADED = "loaded again"
    UNCHANGED = "unchanged"
    EXPIRED = "left: their packets have expired"
    LEFT = "left: it is not loaded now, or waits for another run"


class RefreshConfig(dg.Config):
    """What a run may be told.

    Attributes:
        experiment: only captures of this one.
        capture: only this one.
        as_of: load what was known on that day, or at that moment (ISO 8601), and ask nobody; such captures stay so until they are refreshed by name.
        owing: only captures that an answer is still owed for, or that are behind the file before them in their rotation.
    """

    experiment: str | None = None
    capture: str | None = None
    as_of: str | None = None
    owing: bool = False


@dg.op(name="refresh", description="Asks what has expired or is owed, then loads the captures again whose answers changed; tshark is not started.")
def refresh(context: dg.OpExecutionContext, config: RefreshConfig, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Refresh the captures one by one, past those that fail."""
    as_of = moment(config.as_of)
    chosen = due(pipeline, config)
    if as_of is None:
        _ask(pipeline, chosen, run=context.run.run_id)
    outcomes = dict.fromkeys(Outcome, 0)
    failures: list[Failed] = []
    with Checked.told(context) as checked:
        for record in chosen:
            try:
                outcomes[_one(context, pipeline, record.key, checked, as_of=as_of, stays=config.owing)] += 1
            except Exception as error:
                if is_interrupt(error):
                    raise KeyboardInterrupt from None
                failures.append(failed(record.key, error))
                log.error("%s", failures[-1].reason, exc_info=None if isinstance(error, EXPECTED) else error)  # noqa: TRY400
        catch_up(context, pipeline, [record.key for record in chosen], checked)
    log.info("%s captures: %s", len(chosen), ", ".join(f"{number} {outcome.value}" for outcome, number in outcomes.items()))
    observe_experiments(context, pipeline, {record.experiment for record in chosen})
    context.add_output_metadata({"captures": len(chosen), **{outcome.name.lower(): number for outcome, number in outcomes.items()}})
    if failures:
        raise failure(failures, len(chosen)) from None


@dg.job(description="Bring the answers of loaded captures up to date, or back to those of a day; only what changes is loaded again.")
def refresh_answers() -> None:
    """Refresh what is due."""
    refresh()


def due(pipeline: Pipeline, config: RefreshConfig) -> list[Record]:
    """List the loaded captures that a run is about; those that were taken back to a day only if they are named."""
    named = config.experiment is not None or config.capture is not None or config.as_of is not None
    return [
        record
        for record in (owing(pipeline) if config.owing else pipeline.ledger.records())
        if record.state is State.DONE
        and config.experiment in (None, record.experiment)
        and config.capture in (None, record.key)
        and (named or config.owing or record.as_of is None or record.answers is None)
    ]


def owing(pipeline: Pipeline) -> list[Record]:
    """List the loaded captures that a refresh is due for, whatever the reason; those of a rotation in its order, and first."""
    behind = rotation.behind(pipeline)
    records = (pipeline.ledger.get(key) for key in behind)
    return [*(record for record in records if record), *(record for record in pipeline.ledger.owing() if record.key not in behind)]


def catch_up(context: Context, pipeline: Pipeline, keys: Iterable[str], checked: Checked) -> None:
    """Load again what is behind these captures or behind the files before them, and what comes after that; what fails is due for a refresh.

    Whoever loads one of two neighbours last finds that the later one is behind, in whichever order and by however many they are loaded.
    """
    reached, tried = set(keys), set[str]()
    while key := next((key for key, one in rotation.behind(pipeline).items() if key not in tried and {key, one} & reached), None):
        tried.add(key)
        reached.add(key)
        try:
            _one(context, pipeline, key, checked, as_of=None, stays=True)
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
            log.error("%s", failed(key, error).reason, exc_info=None if isinstance(error, EXPECTED) else error)  # noqa: TRY400


def endpoints_of(pipeline: Pipeline, records: Sequence[Record]) -> list[Path]:
    """List the files of endpoints that are there."""
    data = pipeline.settings.data_dir
    paths = [CaptureFiles(data, record.key, record.follows).endpoints(record.documents) for record in records if record.documents]
    return [path for path in paths if path.exists()]


def _ask(pipeline: Pipeline, records: Sequence[Record], *, run: str) -> None:
    """Ask about the endpoints of all captures at once, so that a budget goes to the most useful of all; the answers are in the store then."""
    paths = endpoints_of(pipeline, records)
    with providers.opened(pipeline.settings, run=run) as (chain, store):
        if store is None or not paths:
            return
        with tempfile.TemporaryDirectory(dir=pipeline.settings.data_dir) as folder:
            counts = enrich(paths, Path(folder) / "answers.parquet", providers=chain, store=store)
    log.info(
        "%s endpoints of %s captures: %s asked, %s owed%s",
        f"{counts.endpoints:,}",
        len(paths),
        f"{counts.asked:,}",
        f"{counts.owed:,}",
        f"; {counts.stopped}" if counts.stopped else "",
    )


def _one(context: Context, pipeline: Pipeline, key: str, checked: Checked, *, as_of: datetime | None, stays: bool) -> Outcome:
    """Take the answers of the store for one capture, and load it again if they, or what it takes up, are others than those of its rows.

    Args:
        context: of the run.
        pipeline: the rooms.
        key: the capture key.
        checked: is told what was checked.
        as_of: take what was known at that moment; None for the present.
        stays: one that was taken back to a day stays with it, as it is only behind its rotation, unless its load broke off.
    """
    started = time.monotonic()
    with pipeline.ledger.lock(key) as record:
        if record is None or record.state is not State.DONE or record.documents is None:
            return Outcome.LEFT
        if record.packets_expired_at is not None:
            return Outcome.EXPIRED
        if stays and record.as_of and record.answers is not None:
            as_of = datetime.fromisoformat(record.as_of)
        with closing(Stages(context, pipeline, key, checked, inputs=record.documents, sha256=record.sha256 or "", cut=record.cut)) as stages:
            stages.distilling.go_on(kept=record.follows)
            stages.answer(ask=False, as_of=as_of)
            goes_on = stages.files.follows == record.follows
            if goes_on and changes.fingerprint(stages.files.enrichment(stages.inputs)) == record.answers:
                stages.note_answers()
                captures_table.owes(pipeline, record, changes.owed(stages.files.enrichment(stages.inputs)))
                return Outcome.UNCHANGED
            if not goes_on:
                stages.endpoints()
            stages.report_answers(seconds=time.monotonic() - started)
            # From here on some rows may have the new answers and some the old: whoever comes after a kill must load again.
            pipeline.ledger.answered(key, answers=None, owed=record.owed)
            done = load_one(pipeline, key, stages.sources(), checked)
            stages.report_rows(done)
            stages.noted_as_done(done.loaded)
            captures_table.copy(pipeline, key, stored=done.stored, counts=stages.counts, seconds=stages.seconds)
            stages.files.keep_only(stages.inputs)
    return Outcome.RELOADED
