"""How long a program of Wireshark may stand still or work, and how much memory it may take.

Silence is judged by work, not by output: a filter that matches nothing prints nothing for hours.
Time without a watcher does not count: neither a laptop that slept nor a service that was paused
makes a program late.
"""

import io
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_LOOK_SECONDS = 1.0
_PROC = Path("/proc")

_FILE_BYTES = 10 * 2**20
"""The programs that count write their errors to a file; nothing else is written to files."""


@dataclass(frozen=True)
class Limits:
    """What a program may take for one capture.

    Attributes:
        silence: seconds without a sign of work.
        seconds: in all.
        memory: bytes of address space; None for no limit.
    """

    silence: float = 300
    seconds: float = 6 * 3600
    memory: int | None = None


DEFAULT = Limits()


class Child(Protocol):
    """A process that can be waited for, as `subprocess.Popen`."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its status; raise `subprocess.TimeoutExpired` if it still runs then."""


class Watch:
    """Watches one program.

    Args:
        limits: its limits.
        work: returns a value that changes whenever the program does something; None if unknown.
    """

    def __init__(self, limits: Limits, work: Callable[[], object | None]) -> None:
        self.limits = limits
        self.silent, self.late = False, False
        self._work, self._last = work, work()
        self._looked, self._still, self._busy = time.monotonic(), 0.0, 0.0

    def is_exceeded(self) -> bool:
        """Return whether a limit is exceeded; to be called about once a second."""
        now = time.monotonic()
        passed = min(now - self._looked, 2 * _LOOK_SECONDS)
        self._looked = now
        self._busy += passed
        current = self._work()
        self._still = self._still + passed if current is not None and current == self._last else 0
        self._last = current
        self.silent = self._still >= self.limits.silence
        self.late = self._busy >= self.limits.seconds
        return self.silent or self.late

    def note_output(self) -> None:
        """Note that there was output."""
        self._still = 0


class Watched(io.RawIOBase):
    """The output of a program, which ends when a limit is exceeded.

    Args:
        output: a pipe without a buffer, whose content could not be polled.
        watch: of the program.
        end: ends the program.
    """

    def __init__(self, output: io.RawIOBase, watch: Watch, end: Callable[[], None]) -> None:
        self._output, self._watch, self._end = output, watch, end
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)
        self._looked = time.monotonic()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview[int] | bytearray") -> int:  # type: ignore[override]
        """Read the next output, or wait for it."""
        while not self._poll.poll(_LOOK_SECONDS * 1000):
            if self._is_over():
                return 0
        self._watch.note_output()
        if time.monotonic() - self._looked > _LOOK_SECONDS and self._is_over():
            return 0
        return self._output.readinto(buffer) or 0

    def close(self) -> None:
        """Close the pipe."""
        self._output.close()
        super().close()

    def _is_over(self) -> bool:
        self._looked = time.monotonic()
        if over := self._watch.is_exceeded():
            self._end()
        return over


def wait(child: Child, watch: Watch) -> int | None:
    """Wait for a program to end; return its status, or None if a limit is exceeded before."""
    while True:
        try:
            return child.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if watch.is_exceeded():
                return None


def work_of(pid: int, inner: int | None = None) -> object | None:
    """Return what a process and its descendants did: ticks of the processor, bytes transferred.

    It is None where that is unknown.

    Args:
        pid: the process.
        inner: only its descendant with this number in its own namespace.
    """
    work = []
    for process in _family(pid):
        with suppress(OSError, ValueError, IndexError):
            if inner is None or _inner(process) == inner:
                ticks = (
                    (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[11:15]
                )
                work.append((process, *ticks, _bytes(process)))
    return tuple(work) or None


def limited(command: Sequence[str], limits: Limits) -> list[str]:
    """Return a command that is limited in memory, leaves no core dump, and fills no disk."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        return list(command)
    memory = [] if limits.memory is None else [f"--as={limits.memory}"]
    return [prlimit, "--core=0", f"--fsize={_FILE_BYTES}", *memory, "--", *command]


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


def _inner(pid: int) -> int:
    status = (_PROC / str(pid) / "status").read_text()
    [numbers] = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return int(numbers.split()[-1])


def _bytes(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "io").read_text()
    return ""


def memory() -> int:
    """Return the bytes of memory of the machine, or of the container if that has less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # it is `max` without a limit
        return machine
