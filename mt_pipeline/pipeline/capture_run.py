"""One capture on its way: `prepare` it, have its rows loaded, `finish` it.

The capture's lock is held from its preparation to its verdict. The ledger has the verdict before the lock is free:
whoever finds a capture at work and its lock free takes its run for dead. Which captures are loaded together says `batch.py`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

from mt_pipeline.captures.database import UnknownCaptureError
from mt_pipeline.captures.duplicates import Copy
from mt_pipeline.captures.growing import is_growing, still
from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline import capacity, captures_table
from mt_pipeline.pipeline.derived import NoInputError
from mt_pipeline.pipeline.load import CaptureLoad
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.verdict import note_done, note_stopped, verdict_of
from mt_pipeline.rows.packets import Sources
from mt_pipeline.tshark.packet_count import estimate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A capture whose rows can be loaded. Its lock is held until `finish` or `abandon`.

    Attributes:
        stages: of the capture.
        sources: what its rows are made of.
        before: what the ledger knew of it when its lock was taken.
        since: when it was first asked for, seconds since 1970.
        started: when its preparation began, by the monotonic clock.
    """

    stages: Stages
    sources: Sources
    before: Record | None
    since: float
    started: float
    _lock: ExitStack

    @property
    def key(self) -> str:
        """The capture key."""
        return self.stages.key


def prepare(run: Run, key: str, *, since: float, wait: bool = True) -> Prepared | None:
    """Take a capture through the stages up to its load.

    Args:
        run: which it is part of.
        key: the capture key.
        since: when it was asked for, seconds since 1970; what another run did later is not done again.
        wait: wait until nobody else works on it.

    Returns:
        What can be loaded; None if nothing is to be, and the capture is dealt with.

    Raises:
        CaptureBusyError: somebody else works on it, and that is not to be waited for.
        Exception: what a room raises; the ledger has it as the capture's verdict.
    """
    started, ledger = time.monotonic(), run.workspace.ledger
    with ExitStack() as stack:
        before = stack.enter_context(ledger.lock(key, timeout=-1 if wait else 0))
        stages = stack.enter_context(closing(Stages(run, key)))
        with verdict_of(stages, before):
            sources = _sources(stages, before, since)
            if sources is not None:
                return Prepared(stages, sources, before, since, started, stack.pop_all())
    return None


def finish(prepared: Prepared, result: CaptureLoad | Exception) -> None:
    """Note what became of a capture, and free its lock.

    Args:
        prepared: the capture.
        result: what its load did, or why it failed.

    Raises:
        Exception: the reason, if the load failed; or what goes wrong now.
    """
    stages = prepared.stages
    with prepared._lock, verdict_of(stages, prepared.before):
        if isinstance(result, Exception):
            raise result
        stages.report_rows(result)
        # Dagster knows already: a kill in between means that the capture is only loaded again.
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
        stages.files.keep_only(stages.inputs)
        loaded, seconds = result.loaded, time.time() - prepared.since
        numbers = f"{loaded.read:,} packets, {loaded.rows:,} rows in {stages.experiment}"
        log.info("%s: %s, %.1f s", prepared.key, numbers, seconds)


def abandon(prepared: Prepared) -> None:
    """Note that the run ends before the capture's load, and free its lock."""
    with prepared._lock:
        note_stopped(prepared.stages)


def abandon_unbegun(run: Run, key: str) -> None:
    """Note that the run ends before it came to this capture, unless another run took it up or there is a verdict."""
    lock = run.workspace.ledger.lock(key, timeout=0)
    with suppress(CaptureBusyError), lock as record:
        if record and record.state is State.WAITING and record.requested_at is not None:
            note_stopped(Stages(run, key))


def _sources(stages: Stages, before: Record | None, since: float) -> Sources | None:
    """Claim the capture, and take it through the chosen stages."""
    run, key = stages.run, stages.key
    capture = capture_at(run.workspace.inbox, key)
    if before and _is_done(run, before, capture, since):
        log.info("%s: run %s loaded it meanwhile", key, before.run)
        return None
    if run.judges:
        run.workspace.ledger.claim(capture, run=run.id, filter=run.display_filter)
    if "tshark_json" in run.stages:
        with _quiet(stages, capture) as quiet:
            if not _read(stages, quiet):
                return None
    elif before and before.documents:
        stages.inputs, stages.sha256, stages.cut = before.documents, before.sha256 or "", before.cut
    else:
        raise NoInputError(
            f"{key}: it was never loaded, so there are no documents to work on; launch it with tshark_json"
        )
    _derive(stages, before)
    return stages.sources() if run.judges else None


@contextmanager
def _quiet(stages: Stages, capture: Capture) -> Iterator[Capture]:
    """Give a copy of a capture that still grows, for as long as the block lasts; else the capture itself."""
    options = stages.run.workspace.options
    if options.follow and is_growing(capture, settle=options.settle_seconds):
        capacity.check(options, capture, lambda: estimate(capture.path), copied=True)
        with snapshot(capture, stages.files.workplace) as copy:
            yield copy
    else:
        yield capture


def _read(stages: Stages, capture: Capture) -> bool:
    """Read the documents, unless the capture is a copy that is to be left out. Returns whether it is wanted."""
    run = stages.run
    stages.identify(capture, run.display_filter)
    copy = _copy(stages)
    if copy and copy.within and run.workspace.options.duplicates == "skip":
        return False
    stages.read_documents(
        capture,
        run.display_filter,
        derive="endpoints" in run.stages,
        copy_of=copy.first if copy else None,
    )
    return True


def _derive(stages: Stages, before: Record | None) -> None:
    """Find the endpoints, and what they are."""
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


def _copy(stages: Stages) -> Copy | None:
    """Find the capture that has the same bytes, if this one is to have rows."""
    run, key = stages.run, stages.key
    if not run.judges:
        return None
    skips = run.workspace.options.duplicates == "skip"
    reason = "MT_DUPLICATES is skip" if skips else ""
    copy = run.workspace.ledger.hashed(key, stages.sha256, skipped_by=reason)
    if copy:
        left_out = ": it is left out" if copy.within and skips else ""
        log.info("%s has the same bytes as %s%s", key, copy.first, left_out)
    return copy


def _is_done(run: Run, record: Record, capture: Capture, since: float) -> bool:
    """Return whether another run loaded the capture meanwhile.

    What the sensor asked for may have been loaded before this run began, as runs queue for hours.
    """
    last_load = record.size, record.mtime_ns, record.filter or ""
    same = last_load == (capture.size, capture.mtime_ns, run.display_filter)
    meanwhile = run.skips_done or record.changed_at > since
    return record.state is State.DONE and same and meanwhile
