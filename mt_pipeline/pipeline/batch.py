"""The captures of a run: prepared one after the other, loaded in batches. For QuestDB, a load costs as much as many rows."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from mt_pipeline.backends.loads import Unreachable
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.pipeline.capture_run import (
    Prepared,
    abandon,
    abandon_unbegun,
    finish,
    prepare,
)
from mt_pipeline.pipeline.failures import EXPECTED, Failed, failed, is_interrupt
from mt_pipeline.pipeline.load import CaptureLoad, load, load_one
from mt_pipeline.pipeline.progress import ENDED
from mt_pipeline.pipeline.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much is prepared before it is loaded.

    Attributes:
        captures: in a batch.
        packet_bytes: of typed packets in a batch: some hundred thousand packets.
        seconds: after which a capture waits no longer for another one to be prepared.
        large: bytes of a capture that takes seconds to prepare; nobody waits for it.
    """

    captures: int = 25
    packet_bytes: int = 2_000_000
    seconds: float = 5
    large: int = 5_000_000


def run_captures(run: Run, keys: Sequence[str], *, limits: Limits | None = None) -> list[Failed]:
    """Take captures through the chosen stages, past those that fail.

    Args:
        run: which they are part of.
        keys: their capture keys.
        limits: how much is prepared before it is loaded.

    Returns:
        Those that failed.
    """
    batch = _Batch(run, limits or Limits())
    left = dict.fromkeys(keys)
    try:
        for key in keys:
            batch.take(key)
            del left[key]
        batch.load()
    except BaseException:  # the run ends before its time
        with ExitStack() as stack:
            for key in left:
                stack.callback(abandon_unbegun, run, key)
            stack.callback(batch.abandon)
        raise
    return batch.failures


@dataclass
class _Batch:
    """Captures that are prepared and wait for their load."""

    run: Run
    limits: Limits
    failures: list[Failed] = field(default_factory=list)
    _prepared: list[Prepared] = field(default_factory=list)

    def take(self, key: str) -> None:
        """Prepare a capture, and load the batch when it is full."""
        if self._prepared and self._size(key) >= self.limits.large:
            self.load()
        since = time.time()
        try:
            try:
                prepared = prepare(self.run, key, since=since, wait=not self._prepared)
            except CaptureBusyError:
                # Whoever works on it may wait for one of ours: nobody who holds a lock waits for another.
                self.load()
                prepared = prepare(self.run, key, since=since)
        except Exception as error:
            self._ended(key, error)
            return
        if prepared is None:
            self._ended(key)
            return
        self._prepared.append(prepared)
        if self._is_full():
            self.load()

    def load(self) -> None:
        """Load the batch, and empty it.

        If that fails, each capture is loaded by itself: one that cannot be loaded costs no other. If a back end does not
        answer, that is the result of all.
        """
        results: dict[str, CaptureLoad | Exception] = {}
        if len(self._prepared) > 1:
            try:
                results.update(load(self.run, {one.key: one.sources for one in self._prepared}))
            except Unreachable as error:
                results = dict.fromkeys((one.key for one in self._prepared), error)
            except Exception as error:
                if is_interrupt(error):
                    raise KeyboardInterrupt from None
                number = len(self._prepared)
                log.warning(
                    "%s captures cannot be loaded together, so each is by itself: %s", number, error
                )
        while self._prepared:
            prepared = self._prepared[0]
            result = results.get(prepared.key) or self._load_one(prepared)
            del self._prepared[0]  # from here on `finish` frees its lock
            try:
                finish(prepared, result)
            except Exception as error:
                self._ended(prepared.key, error)
            else:
                self._ended(prepared.key)

    def abandon(self) -> None:
        """Free the locks of what waits for its load."""
        with ExitStack() as stack:
            for prepared in self._prepared:
                stack.callback(abandon, prepared)

    def _load_one(self, prepared: Prepared) -> CaptureLoad | Exception:
        try:
            return load_one(self.run, prepared.key, prepared.sources)
        except Exception as error:
            return error

    def _ended(self, key: str, error: Exception | None = None) -> None:
        if error is not None:
            if not isinstance(error, EXPECTED):
                log.error("%s", key, exc_info=error)
            folder = self.run.workspace.options.data_dir
            self.failures.append(failed(key, error, folder=folder))
            log.error("%s", self.failures[-1].text)
        self.run.workspace.progress(key, ENDED, 0)

    def _is_full(self) -> bool:
        if self.run.workspace.options.rotation:
            return True  # what a file leaves to the next of its rotation is known when it is loaded
        size = sum(one.sources.packets.stat().st_size for one in self._prepared)
        waited = time.monotonic() - self._prepared[0].started
        return (
            len(self._prepared) >= self.limits.captures
            or size >= self.limits.packet_bytes
            or waited >= self.limits.seconds
        )

    def _size(self, key: str) -> int:
        with suppress(OSError):
            return (self.run.workspace.inbox / key).stat().st_size
        return 0
