"""Prepares the captures of a run one by one, and loads them in batches.

A load into QuestDB has a fixed cost, as large as that of many rows. So small captures share one.
They are derived together before it, as each of DuckDB's statements has such a cost, too.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from mt_pipeline.backends.loads import Unreachable
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.pipeline.capture_run import (
    Prepared,
    abandon,
    abandon_unstarted,
    derive,
    finish,
    prepare,
)
from mt_pipeline.pipeline.derived import make_together
from mt_pipeline.pipeline.failures import EXPECTED, Failed, failed, is_interrupt
from mt_pipeline.pipeline.load import CaptureLoad, load, load_one
from mt_pipeline.pipeline.progress import ENDED
from mt_pipeline.pipeline.run import Run
from mt_pipeline.rows.sources import Sources

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits of a batch. The batch is loaded as soon as it reaches one of them.

    Attributes:
        captures: number of captures.
        packet_bytes: bytes of typed packets, of all captures together.
        seconds: since the preparation of the first capture began.
        large: bytes of a capture file. A larger one takes seconds to prepare, so the batch is
            loaded before it.
        few: packets of a capture whose documents wait in memory, 1 KB each, to be derived with
            others; those of a larger one are derived while tshark reads.
    """

    captures: int = 25
    packet_bytes: int = 2_000_000
    seconds: float = 5
    large: int = 5_000_000
    few: int = 2_000


def run_captures(run: Run, keys: Sequence[str], *, limits: Limits | None = None) -> list[Failed]:
    """Take captures through the stages of a run. A capture that fails does not stop the others.

    Args:
        run: the run that they are part of.
        keys: capture keys.
        limits: the limits of a batch.

    Returns:
        The captures that failed.
    """
    batch = _Batch(run, limits or Limits())
    remaining = dict.fromkeys(keys)
    try:
        for key in keys:
            batch.add(key)
            del remaining[key]
        batch.load()
    except BaseException:  # the run was stopped
        with ExitStack() as stack:
            for key in remaining:
                stack.callback(abandon_unstarted, run, key)
            stack.callback(batch.abandon)
        raise
    return batch.failures


@dataclass
class _Batch:
    """Captures that are prepared and not yet loaded; the small ones not yet derived."""

    run: Run
    limits: Limits
    failures: list[Failed] = field(default_factory=list)
    _prepared: list[Prepared] = field(default_factory=list)

    def add(self, key: str) -> None:
        """Prepare a capture, and load the batch when it is full."""
        is_large = self._size(key) >= self.limits.large
        if self._prepared and is_large:
            self.load()
        since = time.time()
        try:
            try:
                wait = not self._prepared
                prepared = self._prepare(key, since, is_large=is_large, wait=wait)
            except CaptureBusyError:
                # Another process works on it, and may wait for a capture of this batch.
                # So load the batch first: never wait for a lock while you hold others.
                self.load()
                prepared = self._prepare(key, since, is_large=is_large)
        except Exception as error:
            self._note_end(key, error)
            return
        if prepared is None:
            self._note_end(key)
            return
        self._prepared.append(prepared)
        if self._is_full():
            self.load()

    def load(self) -> None:
        """Load the batch, and empty it.

        If that fails, load each capture by itself, so that only those fail that cannot be loaded.
        If a back end does not answer, all captures of the batch fail.
        """
        self._derive()
        results: dict[str, CaptureLoad | Exception] = {}
        sources = {p.key: p.sources for p in self._prepared if p.sources}
        if len(sources) > 1:
            try:
                results.update(load(self.run, sources))
            except Unreachable as error:
                results = dict.fromkeys((p.key for p in self._prepared), error)
            except Exception as error:
                if is_interrupt(error):
                    raise KeyboardInterrupt from None
                log.warning(
                    "%s captures cannot be loaded together, so each is by itself: %s",
                    len(self._prepared),
                    error,
                )
        while self._prepared:
            prepared = self._prepared[0]
            key = prepared.key
            result = results.get(key) or self._load_one(prepared, sources[key])
            del self._prepared[0]  # from here on `finish` frees its lock
            try:
                finish(prepared, result)
            except Exception as error:
                self._note_end(prepared.key, error)
            else:
                self._note_end(prepared.key)

    def abandon(self) -> None:
        """Abandon the captures that are not loaded, and free their locks."""
        with ExitStack() as stack:
            for prepared in self._prepared:
                stack.callback(abandon, prepared)

    def _prepare(
        self, key: str, since: float, *, is_large: bool, wait: bool = True
    ) -> Prepared | None:
        is_alone = is_large or self.run.workspace.options.rotation
        few = 0 if is_alone else self.limits.few
        return prepare(self.run, key, since=since, wait=wait, early=is_large, few=few)

    def _derive(self) -> None:
        """Find the endpoints of small captures, together where that is possible, and answers."""
        waiting = [p for p in self._prepared if p.sources is None]
        try:
            make_together([(p.stages.derived, p.stages.inputs) for p in waiting])
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
            log.warning(
                "%s captures cannot be derived together, so each is by itself: %s",
                len(waiting),
                error,
            )
        for prepared in waiting:
            place = self._prepared.index(prepared)
            del self._prepared[place]  # from here on `derive` frees its lock if it fails
            try:
                derived = derive(prepared)
            except Exception as error:
                self._note_end(prepared.key, error)
            else:
                self._prepared.insert(place, derived)

    def _load_one(self, prepared: Prepared, sources: Sources) -> CaptureLoad | Exception:
        try:
            return load_one(self.run, prepared.key, sources, sent=prepared.sent)
        except Exception as error:
            return error

    def _note_end(self, key: str, error: Exception | None = None) -> None:
        """Report that a capture has its verdict, and collect the error if it failed."""
        if error is not None:
            if not isinstance(error, EXPECTED):
                log.error("%s", key, exc_info=error)
            folder = self.run.workspace.options.data_dir
            self.failures.append(failed(key, error, folder=folder))
            log.error("%s", self.failures[-1].text)
        self.run.workspace.progress(key, ENDED, 0)

    def _is_full(self) -> bool:
        if self.run.workspace.options.rotation:
            return True  # the next file of a rotation continues what this one leaves
        derived = [p.sources for p in self._prepared if p.sources]
        size = sum(sources.packets.stat().st_size for sources in derived)
        waited = time.monotonic() - self._prepared[0].started
        return (
            self._prepared[-1].sent is not None  # some of its rows have the number of their load
            or len(self._prepared) >= self.limits.captures
            or size >= self.limits.packet_bytes
            or waited >= self.limits.seconds
        )

    def _size(self, key: str) -> int:
        with suppress(CaptureError, InboxError):
            return capture_at(self.run.workspace.inbox, key).size
        return 0
