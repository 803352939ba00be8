"""Dagster's log for a terminal: an error is one line, and no stack trace.

A trace of a run is on its page, one of a sensor or of the code on that of the code location. For
others the class and the message must do: a full disk once made 800 lines of traces a second.
"""

import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mt_pipeline.errors import meaning

_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # Dagster colours its log wherever it goes
_STARTS = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |(CRITICAL|ERROR|WARNING|INFO|DEBUG): |Error: "
    r"|Exception (in thread|ignored in)\b"
)
"""Begins what a program prints at a time: the lines up to the next one of these belong to it."""

_FAILS = re.compile(
    r".* - (ERROR|CRITICAL) - |(CRITICAL|ERROR): |Exception (in thread|ignored in)\b"
    r"|Traceback \(most recent call last\):$|Stack Trace:$"
)
_TRACE = re.compile(r"Traceback \(most recent call last\):$|Stack Trace:$")
_REST = re.compile(r'  File "|    |$')
_ERROR = re.compile(
    r"(?:\w+\.)*([A-Z]\w*: .*[^:]|\w+(?:Error|Exception|Interrupt|Exit))$|(?:\w+\.)+([A-Z]\w*)$"
)
"""An error, as the last line of its trace has it, except those whose message only begins there."""

_FAILED = re.compile(r" - (STEP|RUN)_FAILURE - ")
_OURS = "dagster._core.definitions.events.Failure: "
_INTERRUPTED = "DagsterExecutionInterruptedError"
_TIME = re.compile(r"\d{4}-\d\d-\d\d [\d:]+ \S+ - ")

_FULL = re.compile(r"No space left on device|database or disk is full")
_UNUSABLE = "disk I/O error"
_NEEDED = 1 << 20  # bytes: with less, SQLite says that its disk cannot be read or written

_REMEMBERED = 50
"""Number of sentences: between a capture's and its run's are those of the other captures."""
_AGAIN_SECONDS = 60  # until an error is printed again that goes on
_LONGEST = 500
_MOST = 10_000  # lines of an error that are kept until it is complete

Clock = Callable[[], float]


def without_traces(
    lines: Iterable[str | None], *, data_dir: Path, clock: Clock = time.monotonic
) -> Iterator[str]:
    """Yield lines as they come, and an error with a trace as one line, once a minute.

    The sentence of a failure of ours comes once.

    Args:
        lines: the lines; None if no other has come for a while.
        data_dir: the folder that lies on the disk that Dagster writes to.
        clock: the time in seconds.
    """
    shown = _Shown(data_dir, clock)
    record: list[str] = []
    for coloured in lines:
        line = None if coloured is None else _COLOUR.sub("", coloured)
        if record and (line is None or _STARTS.match(line) or len(record) == _MOST):
            yield from shown.of(record)
            record = []
        if line is None:
            continue
        if record or _FAILS.match(line):
            record.append(line)
        elif not (shown.skips and _REST.match(line)):
            yield from shown.of([line])
    if record:
        yield from shown.of(record)


class _Shown:
    """What is shown of errors, and what was shown.

    Attributes:
        skips: whether the last that was printed is a trace, of which more may come.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir, self._clock = data_dir, clock
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._times: dict[str, float] = {}
        self.skips = False

    def of(self, record: list[str]) -> list[str]:
        """Return what is shown of lines that belong together."""
        self.skips = any(_TRACE.match(line) for line in record)
        if not self.skips:
            self._recent.extend(record)
            return record
        for line in record:
            if line.startswith(_OURS):
                return self._failure(record[0], line.removeprefix(_OURS))
        if sentence := self._disk("\n".join(record)):
            when = _TIME.match(record[0])
            # One for both kinds: the last errors of a full disk come when it has room again.
            return self._once_a_minute(_UNUSABLE, (when[0] if when else "") + sentence)
        reason = _reason(record)
        return self._once_a_minute(reason, _after(record[0], reason))

    def _failure(self, header: str, sentence: str) -> list[str]:
        """Return a failure of ours, unless its sentence is there already."""
        if any(earlier.endswith(sentence) for earlier in self._recent):
            return []
        self._recent.append(_after(header, sentence))
        return [self._recent[-1]]

    def _once_a_minute(self, sentence: str, line: str) -> list[str]:
        now = self._clock()
        self._times = {
            said: when for said, when in self._times.items() if now - when < _AGAIN_SECONDS
        }
        if sentence in self._times:
            return []
        self._times[sentence] = now
        return [line]

    def _disk(self, text: str) -> str | None:
        """Return what to do if a trace is of a disk that is full or broken."""
        full = bool(_FULL.search(text))
        if not full and _UNUSABLE not in text:
            return None
        try:
            disk = os.statvfs(self._data_dir)
            full = full or disk.f_bavail * disk.f_frsize < _NEEDED
        except OSError:
            pass
        if not full:
            return f"{self._data_dir}: {meaning(OSError(errno.EIO, ''))}"
        cure = meaning(OSError(errno.ENOSPC, ""), folder=self._data_dir)
        return f"{cure}; all goes on by itself then"


def _after(header: str, sentence: str) -> str:
    """Return the line of an error: what the first line of its trace says of it, and a sentence."""
    before, *of_run = _FAILED.split(header)
    if of_run:
        return f"{before} - {sentence}"
    return sentence if _TRACE.match(header) else f"{header.rstrip(': ')}: {sentence}"


def _reason(record: list[str]) -> str:
    """Return the last error of a trace: the first cause in Dagster's traces, and else the sum."""
    errors = [found[1] or found[2] for line in record if (found := _ERROR.match(line))]
    if not errors:
        return "an error without a message"
    if errors[-1] == _INTERRUPTED:
        return "its run was cancelled while it was at work"
    return errors[-1][:_LONGEST]
