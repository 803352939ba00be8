"""Child processes that never outlive us: how many make sense, how they are started and stopped. What they are belongs to the rooms that run them."""

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

_EVERYONE = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL", "TZ")
"""Variables that any program may need to be found, to start and to write text. None may hold a secret."""


def bound(command: Sequence[str], *, signal: str = "KILL") -> list[str]:
    """Prefix a command so that the kernel ends the process when the thread that starts it dies, however it dies.

    Start it from a thread that lives as long as the process should: a finished worker thread takes its children with it.
    A program that does not exist then gives exit status 127, not `FileNotFoundError`. Processes that the child starts are not bound.

    Args:
        command: program and arguments.
        signal: what the kernel sends: KILL, or TERM for a program that must tidy up.

    Returns:
        The command by way of util-linux's setpriv; as it is where that is missing (macOS, Alpine).
    """
    setpriv = _setpriv()
    return (
        [setpriv, "--no-new-privs", "--pdeathsig", signal, "--", *command]
        if setpriv
        else list(command)
    )


def environment(*names: str, **more: str) -> dict[str, str]:
    """Make the environment of a child: what every program needs, and what is listed here. Nothing else, least of all a secret, gets there by itself.

    Args:
        names: more variables that it gets from ours, if they are set.
        more: variables with their values.
    """
    return {name: os.environ[name] for name in (*_EVERYONE, *names) if name in os.environ} | more


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def piped(stream: IO[bytes] | None) -> IO[bytes]:
    """Take a stream of a child that was started with a pipe for it."""
    assert stream is not None  # noqa: S101
    return stream


def unbuffered(stream: IO[bytes] | None) -> io.FileIO:
    """Take a stream of a child that was started with a pipe for it, and without a buffer."""
    assert isinstance(stream, io.FileIO)  # noqa: S101
    return stream


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str], *, grace: float) -> None:
    """End a child, and the whole process group if it leads one: SIGTERM, up to `grace` seconds, then SIGKILL to what is left.

    Does nothing to a child that has ended, but for what is left of its group. Returns when the child is gone.
    """
    _signal(process, SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    _signal(process, SIGKILL)
    process.wait()


@functools.cache
def _setpriv() -> str | None:
    path = shutil.which("setpriv") if sys.platform == "linux" else None
    # Busybox has a setpriv without this option.
    options = ["--no-new-privs", "--pdeathsig", "KILL", "--", sys.executable, "--version"]
    return (
        path
        if path
        and subprocess.run(
            [path, *options], env=environment(), capture_output=True, check=False
        ).returncode
        == 0
        else None
    )


def _signal(process: subprocess.Popen[bytes] | subprocess.Popen[str], number: Signals) -> None:
    try:
        # Once it was waited for, a process of this number is a stranger.
        leads = os.getpgid(process.pid) == process.pid and process.returncode is None
    except ProcessLookupError:
        leads = True  # the number is free, or kept by what is left of the child's group
    with suppress(ProcessLookupError, PermissionError):
        if leads:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
