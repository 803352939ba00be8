"""One capture through the chosen stages (`stages.py`), under its lock: claimed in the ledger, walked, and a verdict whatever happens.

Before its load it may wait for others: see `group.py`.
"""

import logging
import time
from collections.abc import Generator, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import PARENT_RUN_ID_TAG

from mt_pipeline.captures.duplicates import Copy
from mt_pipeline.captures.growing import is_growing, still
from mt_pipeline.captures.identity import Capture, CaptureGoneError, capture_at
from mt_pipeline.captures.ledger import UnknownCaptureError
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.checked import Checked
from mt_pipeline.defs.failures import failed, is_interrupt
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import BY_SENSOR
from mt_pipeline.pipeline import capacity, captures_table
from mt_pipeline.pipeline.causes import is_outage, is_suspect
from mt_pipeline.pipeline.derived import NothingToWorkOnError
from mt_pipeline.pipeline.load import Done
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.workspace import Pipeline
from mt_pipeline.rows.packets import Sources
from mt_pipeline.tshark.packet_count import estimate

log = logging.getLogger(__name__)

Steps = Generator[Sources, Done, None]
"""A walk that stops with what its rows are made of, if they are to be loaded: it is sent what the load did, or thrown what it raised."""


@dataclass
class Walk:
    """The walk of one capture; `go` takes it through the stages in their order.

    Attributes:
        context: of the run.
        pipeline: the rooms.
        key: the capture key.
        stages: names of the chosen assets.
        display_filter: only packets that match become rows.
        checked: is told what was checked.
        as_of: load what was known of the endpoints at that moment; None for the present.
    """

    context: dg.AssetExecutionContext
    pipeline: Pipeline
    key: str
    stages: Set[str]
    display_filter: str
    checked: Checked
    as_of: datetime | None = None
    _asked_at: float = 0
    _before: Record | None = None
    _stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        self._stages = Stages(self.context, self.pipeline, self.key, self.checked)

    @property
    def size(self) -> int:
        """Bytes of the file; 0 if it is gone."""
        with suppress(OSError):
            return (self.pipeline.inbox / self.key).stat().st_size
        return 0

    def go(self, *, wait: bool = True) -> Steps:
        """Take the capture through the stages; the ledger knows how it ended, whatever happens.

        Args:
            wait: until nobody else works on it.

        Raises:
            CaptureBusyError: somebody else does, and that is not to be waited for.
            Exception: what a room says; `failures.failed` turns it into a sentence.
        """
        self._asked_at = self._asked_at or time.time()
        # The verdict is noted before the lock is let go: who finds a capture at work and its lock free takes its run for dead.
        with self.pipeline.ledger.lock(self.key, timeout=-1 if wait else 0) as self._before, closing(self._stages):
            try:
                yield from self._claimed()
            except Exception as error:
                if is_interrupt(error):
                    self.stopped()
                    raise KeyboardInterrupt from None
                if isinstance(error, CaptureGoneError) and self._let_go():
                    return
                reason = failed(self.key, error, folder=self.pipeline.settings.data_dir).reason
                if is_outage(error):
                    self._give_back(reason, suspect=is_suspect(error))
                else:
                    self._note(reason)
                raise
            except BaseException:
                self.stopped()
                raise

    def never_begun(self) -> None:
        """Note that the run ends before it came to this capture, unless another one took it up or there is a verdict already."""
        with suppress(CaptureBusyError), self.pipeline.ledger.lock(self.key, timeout=0) as record:
            if record and record.state is State.WAITING and record.requested_at is not None:
                self.stopped()

    def stopped(self) -> None:
        """Note that the run ends before its time.

        A person who cancelled it, in the UI or by Ctrl-C at a terminal, meant it; when the service stops, the next start takes the capture up again.
        """
        run = self.context.instance.get_run_by_id(self.context.run.run_id)
        if run is None or run.remote_job_origin is None or run.status is dg.DagsterRunStatus.CANCELING:
            self._note(f"{self.key}: its run was cancelled; launch it again")
        elif self._judges:
            with suppress(UnknownCaptureError):
                self.pipeline.ledger.give_back(self.key)

    @property
    def _judges(self) -> bool:
        """Without the last stage there is no verdict on the capture, so the ledger keeps what it knows."""
        return "questdb_packets" in self.stages

    def _note(self, reason: str) -> None:
        """Let the ledger know; a key that the UI made up has no record."""
        if self._judges:
            with suppress(UnknownCaptureError):
                self.pipeline.ledger.fail(self.key, reason)
                captures_table.copy(self.pipeline, self.key, counts=self._stages.counts, seconds=self._stages.seconds)

    def _give_back(self, outage: str, *, suspect: bool) -> None:
        """Let the ledger know that it was no fault of the capture, unless it was too often."""
        if self._judges:
            with suppress(UnknownCaptureError):
                if self.pipeline.ledger.give_back(self.key, outage=outage, suspect=suspect) is State.FAILED:
                    captures_table.copy(self.pipeline, self.key, counts=self._stages.counts, seconds=self._stages.seconds)

    def _let_go(self) -> bool:
        """Let go of a capture whose file was deleted before it was read, as ring buffers do; a key that the UI made up has no record."""
        if not self._judges or self.pipeline.ledger.get(self.key) is None:
            return False
        if self.pipeline.ledger.gone(self.key, self._before):
            log.info("%s: its file was deleted before it was read again; its rows stay as they are", self.key)
        else:
            log.info("%s: its file was deleted before it was read; nothing of it is stored", self.key)
            self.context.instance.delete_dynamic_partition(captures.name or "", self.key)
        return True

    def _claimed(self) -> Steps:
        capture, before = capture_at(self.pipeline.inbox, self.key), self._before
        if before and self._is_done(before, capture):
            log.info("%s: run %s did it meanwhile", self.key, before.run)
            return
        if self._judges:
            self.pipeline.ledger.claim(capture, run=self.context.run.run_id, filter=self.display_filter)
        settings = self.pipeline.settings
        if settings.follow and "tshark_json" in self.stages and is_growing(capture, settle=settings.settle_seconds):
            capacity.check(settings, capture, lambda: estimate(capture.path), copied=True)
            with still(capture, self._stages.files.workplace) as copy:
                yield from self._walk(copy, before)
        else:
            yield from self._walk(capture, before)

    def _is_done(self, record: Record, capture: Capture) -> bool:
        """Say whether another run did it meanwhile. What the sensor asked for may have been done before this run began, as runs queue for hours."""
        same = (record.size, record.mtime_ns, record.filter or "") == (capture.size, capture.mtime_ns, self.display_filter)
        tags = self.context.run.tags
        by_sensor = BY_SENSOR in tags and PARENT_RUN_ID_TAG not in tags
        return record.state is State.DONE and same and (by_sensor or record.changed_at > self._asked_at)

    def _walk(self, capture: Capture, before: Record | None) -> Steps:
        work = self._stages
        if "tshark_json" in self.stages:
            work.look(capture, self.display_filter)
            copy = self._copy()
            if copy and copy.within and self._skips_copies:
                return
            work.tshark_json(capture, self.display_filter, listened="endpoints" in self.stages, copy_of=copy.of if copy else None)
        elif before and before.documents:
            work.inputs, work.sha256, work.cut = before.documents, before.sha256 or "", before.cut
        else:
            raise NothingToWorkOnError(f"{self.key}: it was never loaded, so there are no documents to work on; launch it with tshark_json")
        if "endpoints" in self.stages:
            work.distilling.go_on()
            work.endpoints()
        elif before:
            work.distilling.follow(before.follows)
        if "netify_enrichment" in self.stages:
            work.netify_enrichment(as_of=self.as_of)
        if "questdb_packets" in self.stages:
            self._loaded((yield work.sources()))

    @property
    def _skips_copies(self) -> bool:
        return self.pipeline.settings.duplicates == "skip"

    def _copy(self) -> Copy | None:
        """Say which capture has the same bytes, if this one will have rows."""
        if not self._judges:
            return None
        copy = self.pipeline.ledger.hashed(self.key, self._stages.sha256, skipped_by="MT_DUPLICATES is skip" if self._skips_copies else "")
        if copy:
            log.info("%s has the same bytes as %s%s", self.key, copy.of, ": it is left out" if copy.within and self._skips_copies else "")
        return copy

    def _loaded(self, done: Done) -> None:
        work, loaded = self._stages, done.loaded
        work.report_rows(done)
        work.noted_as_done(loaded)  # Dagster knows already: a kill in between then only loads again
        tshark = self.pipeline.tshark.version if "tshark_json" in self.stages else None
        captures_table.copy(self.pipeline, self.key, stored=done.stored, counts=work.counts, seconds=work.seconds, tshark=tshark)
        work.files.keep_only(work.inputs)
        seconds = time.time() - self._asked_at
        log.info("%s: %s packets, %s rows in %s, %.1f s", self.key, f"{loaded.read:,}", f"{loaded.rows:,}", work.experiment, seconds)
