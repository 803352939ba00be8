"""The phases of one capture: `prepare`, `derive`, a load, `finish`.

`prepare` takes the capture's lock, and `finish` frees it after the ledger has the verdict. So a
capture that the ledger calls running while its lock is free belongs to a run that was killed.
`batch.py` decides which captures are loaded together.
"""

import logging
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace

from mt_pipeline.captures.duplicates import Copy
from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.derived import NoInputError
from mt_pipeline.pipeline.early_load import SentRows
from mt_pipeline.pipeline.load import CaptureLoad
from mt_pipeline.pipeline.run import STAGES, Run
from mt_pipeline.pipeline.stable import stable
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.verdict import note_done, note_stopped, verdict_of
from mt_pipeline.rows.sources import Sources

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A capture that is ready to load. Its lock is held until `finish` or `abandon`.

    Attributes:
        stages: the stages of the capture.
        sources: the files that its rows are made of; None before `derive`.
        sent: the rows that were sent while tshark read it; None if there are none.
        before: its record in the ledger when its lock was taken.
        since: when it was requested, in seconds since 1970.
        started: when its preparation began, in seconds of the monotonic clock.
    """

    stages: Stages
    sources: Sources | None
    sent: SentRows | None
    before: Record | None
    since: float
    started: float
    _lock: ExitStack

    @property
    def key(self) -> str:
        """The capture key."""
        return self.stages.key


def prepare(
    run: Run,
    key: str,
    *,
    since: float,
    wait: bool = True,
    early: bool = False,
    few: int = 0,
) -> Prepared | None:
    """Take a capture through the stages that come before its load.

    Args:
        run: the run that it is part of.
        key: the capture key.
        since: when it was requested, in seconds since 1970. If another run has loaded it since
            then, it is not loaded again.
        wait: whether to wait for the capture's lock.
        early: whether to send rows while tshark reads, if the capture has none yet.
        few: leave a capture of up to so many packets to `derive` once it has its documents, if it
            is to be loaded.

    Returns:
        What to load; None if there is nothing to load, and the capture is finished.

    Raises:
        CaptureBusyError: another process works on it, and `wait` is false.
        Exception: a stage failed. The ledger already has the verdict.
    """
    started, ledger = time.monotonic(), run.workspace.ledger
    with ExitStack() as stack:
        before = stack.enter_context(ledger.lock(key, timeout=-1 if wait else 0))
        stages = stack.enter_context(closing(Stages(run, key)))
        with verdict_of(stages, before):
            if not _read(stages, before, since, early=early, few=few if run.includes_load else 0):
                return None
            if stages.derived.waits:
                return Prepared(stages, None, None, before, since, started, stack.pop_all())
            _derive(stages, before)
            if run.includes_load:
                sent = stages.early_load.finish() if stages.early_load else None
                sources = stages.sources()
                return Prepared(stages, sources, sent, before, since, started, stack.pop_all())
    return None


def derive(prepared: Prepared) -> Prepared:
    """Take a capture through the stages between its documents and its load.

    Returns:
        The capture with its sources.

    Raises:
        Exception: a stage failed. The ledger already has the verdict, and the lock is free.
    """
    stages = prepared.stages
    with prepared._lock as stack, verdict_of(stages, prepared.before):
        _derive(stages, prepared.before)
        return replace(prepared, sources=stages.sources(), _lock=stack.pop_all())


def finish(prepared: Prepared, result: CaptureLoad | Exception) -> None:
    """Write the verdict on a capture, and free its lock.

    Args:
        prepared: the capture.
        result: the result of its load, or the error that ended it.

    Raises:
        Exception: the error of the load, or one that occurs here.
    """
    stages = prepared.stages
    with prepared._lock, verdict_of(stages, prepared.before):
        if isinstance(result, Exception):
            raise result
        stages.report_rows(result)
        # The observer comes first: after a kill in between, the capture is loaded again.
        note_done(stages, result.loaded)
        run = stages.run
        captures_table.copy(
            run.workspace,
            prepared.key,
            stored=result.stored,
            counts=stages.counts,
            seconds=stages.seconds,
            tshark=run.workspace.tshark.version if "tshark_json" in run.stages else None,
        )
        run.workspace.ledger.check(prepared.key)
        stages.files.keep_only(stages.inputs)
        loaded, seconds = result.loaded, time.time() - prepared.since
        numbers = f"{loaded.read:,} packets, {loaded.rows:,} rows in {stages.experiment}"
        log.info("%s: %s, %.1f s", prepared.key, numbers, seconds)


def abandon(prepared: Prepared) -> None:
    """Note that the run was stopped before the capture was loaded, and free its lock."""
    with prepared._lock:
        note_stopped(prepared.stages)


def abandon_unstarted(run: Run, key: str) -> None:
    """Note that the run was stopped before it began with a capture.

    Do nothing if another run has begun with it, or if it has a verdict.
    """
    lock = run.workspace.ledger.lock(key, timeout=0)
    with suppress(CaptureBusyError), lock as record:
        if record and record.state is State.WAITING and record.requested_at is not None:
            note_stopped(Stages(run, key))


def _read(stages: Stages, before: Record | None, since: float, *, early: bool, few: int) -> bool:
    """Claim the capture, and read its documents. Return whether there is more to do."""
    run, key = stages.run, stages.key
    capture = capture_at(run.workspace.inbox, key)
    if before and _is_done(run, before, capture, since):
        log.info("%s: run %s loaded it meanwhile", key, before.run)
        return False
    if run.includes_load:
        run.workspace.ledger.claim(capture, run=run.id, filter=run.display_filter)
    if "tshark_json" in run.stages:
        early = early and not (before and before.documents)
        with stable(run.workspace, stages.files, capture) as file:
            return _read_file(stages, file, early=early, few=few)
    elif before and before.documents:
        stages.inputs, stages.sha256, stages.cut = before.documents, before.sha256 or "", before.cut
    else:
        raise NoInputError(
            f"{key}: it was never loaded, so there are no documents to work on; "
            "launch it with tshark_json"
        )
    return True


def _read_file(stages: Stages, capture: Capture, *, early: bool, few: int) -> bool:
    """Read the documents, unless the settings skip the capture as a duplicate.

    Returns:
        Whether they were read.
    """
    run = stages.run
    stages.identify(capture, run.display_filter)
    copy = _duplicate_of(stages)
    if copy and copy.within and run.workspace.options.duplicates == "skip":
        return False
    if early and run.stages >= set(STAGES):
        stages.load_early()
    stages.read_documents(
        capture,
        run.display_filter,
        derive="endpoints" in run.stages,
        copy_of=copy.first if copy else None,
        few=few,
    )
    return True


def _derive(stages: Stages, before: Record | None) -> None:
    """Find the endpoints, and the answers for them."""
    run = stages.run
    if "endpoints" in run.stages:
        stages.derived.continue_rotation()
        stages.find_endpoints()
    elif before:
        stages.derived.follow(before.follows)
    if "netify_enrichment" in run.stages:
        started = time.monotonic()
        stages.answer(as_of=run.as_of)
        stages.report_answers(seconds=time.monotonic() - started)


def _duplicate_of(stages: Stages) -> Copy | None:
    """Find the loaded capture that has the same bytes; None if there is none."""
    run, key = stages.run, stages.key
    if not run.includes_load:
        return None
    skips = run.workspace.options.duplicates == "skip"
    reason = "MT_DUPLICATES is skip" if skips else ""
    copy = run.workspace.ledger.hashed(key, stages.sha256, skipped_by=reason)
    if copy:
        left_out = ": it is left out" if copy.within and skips else ""
        log.info("%s has the same bytes as %s%s", key, copy.first, left_out)
    return copy


def _is_done(run: Run, record: Record, capture: Capture, since: float) -> bool:
    """Return whether another run has loaded the capture in its present form.

    A run that the sensor requested may have waited in the queue for hours. It skips a capture no
    matter when it was loaded.
    """
    last_load = record.size, record.mtime_ns, record.filter or ""
    same = last_load == (capture.size, capture.mtime_ns, run.display_filter)
    meanwhile = run.skips_done or record.changed_at > since
    return record.state is State.DONE and same and meanwhile
