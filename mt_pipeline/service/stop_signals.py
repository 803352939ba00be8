"""What a signal does to `mt-pipeline run`: the first ends it in order and says what that waits for, the next one ends it at once."""

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
        ledger: knows what is at work.
        say: told what happens, for the terminal.
        ended: is set by the first signal.
        questdb: whether the end waits for QuestDB.
        dagster: the process, once there is one; it leads its group.
    """

    ledger: Ledger
    say: Callable[[str], None]
    ended: threading.Event
    questdb: bool = False
    dagster: subprocess.Popen[str] | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear them; only for the main thread, which nothing interrupts then."""
        with ExitStack() as stack:
            for number in _SIGNALS:
                stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))
            stack.enter_context(heard(self._first, self._again, signals=_SIGNALS))
            yield

    def _first(self) -> None:
        try:
            dagster = [f"Dagster{self._at_work()}"] if self._dagster_lives else []
            self.say(stopping([*dagster, *(["QuestDB"] if self.questdb else [])]))
        finally:
            self.ended.set()

    def _again(self) -> None:
        self.say("ending at once: the next start takes up what was at work")
        if self.dagster and self._dagster_lives:
            with suppress(ProcessLookupError):
                os.killpg(self.dagster.pid, signal.SIGKILL)
        else:
            end_now()

    @property
    def _dagster_lives(self) -> bool:
        return self.dagster is not None and self.dagster.poll() is None

    def _at_work(self) -> str:
        try:
            unfinished = self.ledger.unfinished()
        except LedgerError:  # no reason not to stop
            return ""
        number = sum(record.state is State.RUNNING for record in unfinished)
        return (
            f" to give {number:,} capture{'' if number == 1 else 's'} back to the next start"
            if number
            else ""
        )
