"""Child processes that never outlive this one: their number, their environment, start and end."""

import ctypes
import functools
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from signal import SIGKILL, SIGTERM, Signals
from typing import IO

_SET_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""

_COMMON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL", "TZ")
"""Variables that every child gets. None may contain a secret."""


def bound(command: Sequence[str], *, signal: str = "KILL") -> list[str]:
    """Return a command that the kernel ends when the thread that starts it ends, for any reason.

    Start it from a thread that lives as long as the process should: when a worker thread ends,
    its children end, too. A missing program then gives exit status 127 instead of
    `FileNotFoundError`. Children of the process are not bound.

    Args:
        command: program and arguments.
        signal: the signal that the kernel sends: KILL, or TERM for a program that must clean up.

    Returns:
        The command with util-linux's setpriv before it; unchanged where that is missing (macOS,
        Alpine).
    """
    setpriv = _setpriv()
    if not setpriv:
        return list(command)
    return [setpriv, "--no-new-privs", "--pdeathsig", signal, "--", *command]


def end_with_parent() -> None:
    """Have the kernel end this process, which was forked, when its parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, SIGKILL)


def environment(*names: str, **more: str) -> dict[str, str]:
    """Return the environment of a child: what every program needs, and what is listed here.

    Nothing else reaches the child, so no secret does by accident.

    Args:
        names: more variables of this process to hand on, if they are set.
        more: variables with their values.
    """
    return {name: os.environ[name] for name in (*_COMMON, *names) if name in os.environ} | more


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def piped(stream: IO[bytes] | None) -> IO[bytes]:
    """Return a stream of a child that was started with a pipe for it."""
    assert stream is not None  # noqa: S101
    return stream


def unbuffered(stream: IO[bytes] | None) -> io.FileIO:
    """Return a stream of a child that was started with a pipe for it, and without a buffer."""
    assert isinstance(stream, io.FileIO)  # noqa: S101
    return stream


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str], *, grace: float) -> None:
    """End a child and, if it leads a process group, the group. Return when the child has ended.

    Send SIGTERM, wait up to `grace` seconds, then send SIGKILL. If the child has ended already, end
    what is left of its group.
    """
    _signal(process, SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    _signal(process, SIGKILL)
    process.wait()


@functools.cache
def _setpriv() -> str | None:
    path = shutil.which("setpriv") if sys.platform == "linux" else None
    if not path:
        return None
    # The setpriv of Busybox does not have this option.
    trial = [path, "--no-new-privs", "--pdeathsig", "KILL", "--", sys.executable, "--version"]
    result = subprocess.run(trial, env=environment(), capture_output=True, check=False)
    return path if result.returncode == 0 else None


def _signal(process: subprocess.Popen[bytes] | subprocess.Popen[str], number: Signals) -> None:
    try:
        # After the wait, another process may have this number.
        leads = os.getpgid(process.pid) == process.pid and process.returncode is None
    except ProcessLookupError:
        leads = True  # the number is free, or in use by what is left of the child's group
    with suppress(ProcessLookupError, PermissionError):
        if leads:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
