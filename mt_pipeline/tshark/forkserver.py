"""A tshark that sets up its dissectors once and forks for each capture.

For a small capture, that setup takes most of the time. tshark has no such mode of its own: it runs
`forkserver.lua` after the setup, which waits for captures. A fork continues as a tshark that was
just started, with the same output. This needs Linux, a tshark with Lua, and luaposix (Debian's
`lua-posix`).
"""

import fcntl
import functools
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from mt_pipeline.tshark import hellos, limits, sandbox

_SCRIPT = Path(__file__).with_suffix(".lua")
_BROKER = Path(__file__).with_name("broker.py")
_LONGEST = 64

START_SECONDS = 60.0
"""A tshark that has not answered by then never will: it is a script that withholds its output."""

CAPTURE = "/dev/fd/63"
"""The file that the command must read. Only forks have it: a tshark without Lua ends at once."""

_lock = threading.Lock()


def fork(
    command: Sequence[str],
    environment: Mapping[str, str],
    capture: Path,
    errors: IO[bytes],
    *,
    is_confined: bool = False,
    seconds: float = START_SECONDS,
) -> "Forked | None":
    """Fork the tshark of a command; the next call with the same command forks the same tshark.

    Args:
        command: a tshark that reads CAPTURE.
        environment: its environment.
        capture: what the fork reads instead.
        errors: where the fork writes its errors.
        is_confined: whether it works in a sandbox.
        seconds: to wait for each answer.

    Returns:
        None if that is impossible, on this system or for this capture.
    """
    with _lock:
        variables = tuple(environment.items())
        server = _server(os.getpid(), tuple(command), variables, is_confined, seconds)
        if server is None:
            return None
        try:
            return server.fork(capture, errors)
        except OSError:  # a capture that cannot be opened, or the server was killed
            return None
        finally:
            if server.has_ended:
                _server.cache_clear()


class Forked:
    """A tshark that was forked, with the interface of `subprocess.Popen`.

    Attributes:
        stdout: its output.
        returncode: its status, or the signal that ended it as a negative number; None before
            `wait`.
    """

    def __init__(
        self, server: "ForkServer", stdout: io.FileIO, ended: io.FileIO, number: int
    ) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._server, self._ended = server, ended  # the server ends with its last reference
        self._number = number

    def work(self) -> object | None:
        """Return a value that changes whenever it does something; None where that is unknown."""
        return self._server.work_of(self._number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its status.

        The end of a lost server counts as its own, which comes once nobody reads its output.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._ended, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("tshark", timeout or 0)
            how, number = self._ended.read().split() or (b"killed", signal.SIGKILL)
            self.returncode = int(number) * (1 if how == b"exited" else -1)
            self._ended.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless its end was waited for."""
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
            self._ended.close()


class ForkServer:
    """A tshark that forks, for one caller at a time.

    Args:
        command: a tshark that reads CAPTURE.
        environment: of it and of its forks.
        is_confined: whether they work in a sandbox.
        seconds: to wait for each answer.

    Raises:
        OSError: it cannot be started on this system.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        is_confined: bool = False,
        seconds: float = START_SECONDS,
    ) -> None:
        if sys.platform != "linux":
            raise OSError("a process cannot open the files of another one here")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        python, folders = sandbox.python()
        broker = [*python, str(_BROKER), *command, "-X", f"lua_script:{_SCRIPT}"]
        if is_confined:
            broker = sandbox.confined(broker, _SCRIPT, _BROKER, hellos.SCRIPT, *folders)
        with theirs:
            self._process = subprocess.Popen(
                broker,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # without our terminal, into which it could type
            )
        self._line = ours
        self._line.settimeout(seconds)
        self.close = weakref.finalize(self, _end, self._process, ours)
        with suppress(TimeoutError):
            if self._line.recv(_LONGEST) == b"ready":
                return
        self._process.kill()
        self.close()
        raise OSError(f"{command[0]} does not fork")

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def fork(self, capture: Path, errors: IO[bytes]) -> Forked:
        """Fork for a capture.

        Raises:
            OSError: that is impossible.
        """
        with ExitStack() as ours, ExitStack() as theirs:
            # All captures would wait with us for a pipe that took its place.
            descriptor = os.open(capture, os.O_RDONLY | os.O_NONBLOCK)
            theirs.callback(os.close, descriptor)
            stdout, output = _pipe(ours, theirs)
            ended, end = _pipe(ours, theirs)
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 1 << 20)
            try:
                socket.send_fds(self._line, [b"fork"], [descriptor, output, errors.fileno(), end])
                word, _, number = self._line.recv(_LONGEST).partition(b" ")
            except BaseException:
                # The answer may still come, and be mistaken for that of the next capture.
                self._process.kill()
                self._process.wait()
                self._line.close()  # a sandbox outlives bwrap's first process, and ends with this
                raise
            if not word:  # tshark has ended
                self._process.kill()
                self._process.wait()
            if word != b"yes":
                raise OSError(f"no fork for {capture}")
            ours.pop_all()
            return Forked(self, stdout, ended, int(number))

    def work_of(self, number: int) -> object | None:
        """Return a value that changes whenever the fork of this number does something."""
        return limits.work_of(self._process.pid, number)


# A process hardly ever changes its command, and an old server ends with its last fork.
@functools.lru_cache(maxsize=1)
def _server(
    _client: int,
    command: tuple[str, ...],
    environment: tuple[tuple[str, str], ...],
    is_confined: bool,
    seconds: float,
) -> ForkServer | None:
    try:
        return ForkServer(command, dict(environment), is_confined=is_confined, seconds=seconds)
    except OSError:
        return None


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[io.FileIO, int]:
    reads, writes = os.pipe()
    theirs.callback(os.close, writes)
    return ours.enter_context(io.FileIO(reads)), writes


def _end(process: subprocess.Popen[bytes], line: socket.socket) -> None:
    line.close()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:  # another fork of our process may still have the line
        process.kill()
        process.wait()
