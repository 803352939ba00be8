"""Signals to `mt-pipeline run`: the first one stops it in order, the next one ends it at once."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import LedgerError, State
from mt_pipeline.system.interrupts import end_now, heard, stopping

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopSignals:
    """The signals that end the service.

    Attributes:
        ledger: has the captures at work.
        echo: prints a line.
        stopped: the first signal sets it.
        questdb: whether the end waits for QuestDB.
        dagster: its process, once it has started; it leads its group.
        worker: whether runs are at work in a cluster: here they end with this process.
    """

    ledger: Ledger
    echo: Callable[[str], None]
    stopped: threading.Event
    questdb: bool = False
    dagster: subprocess.Popen[str] | None = None
    worker: bool = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals; only in the main thread, which they do not interrupt then."""
        with ExitStack() as stack:
            for number in _SIGNALS:
                stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))
            stack.enter_context(heard(self._first, self._again, signals=_SIGNALS))
            yield

    def _first(self) -> None:
        try:
            captures = "" if self.worker else self._running_captures()
            dagster = [f"Dagster{captures}"] if self._dagster_runs else []
            self.echo(stopping([*dagster, *(["QuestDB"] if self.questdb else [])]))
        finally:
            self.stopped.set()

    def _again(self) -> None:
        self.echo("ending at once: the next start takes up what was at work")
        runs = self._dagster_runs
        if self.dagster and runs:
            with suppress(ProcessLookupError):
                os.killpg(self.dagster.pid, signal.SIGKILL)
        if self.worker or not runs:
            end_now()

    @property
    def _dagster_runs(self) -> bool:
        return self.dagster is not None and self.dagster.poll() is None

    def _running_captures(self) -> str:
        try:
            unfinished = self.ledger.unfinished()
        except LedgerError:  # a damaged ledger must not keep the service from stopping
            return ""
        count = sum(record.state is State.RUNNING for record in unfinished)
        captures = f"{count:,} capture{'' if count == 1 else 's'}"
        return f" to give {captures} back to the next start" if count else ""
