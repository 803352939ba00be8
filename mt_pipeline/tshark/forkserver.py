"""A tshark that sets up its dissectors once, and forks for each capture: to set them up is most of the time of a small one.

tshark has no such mode of its own. `forkserver.lua`, which it runs when all is set up, waits there; what it forks goes on as a tshark that was just
started does, and says the same. This needs Linux, a tshark with Lua, and luaposix (Debian's `lua-posix`).
"""

import fcntl
import functools
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

_SCRIPT = Path(__file__).with_suffix(".lua")

_SECONDS = 60
"""A tshark that said nothing by then never will: it is a script that keeps what tshark says."""

_DESCRIPTOR = 63
CAPTURE = f"/dev/fd/{_DESCRIPTOR}"
"""The file that the command must read. It is there for forks only: a tshark without Lua ends at once."""


def fork(command: Sequence[str], environment: Mapping[str, str], capture: Path, errors: IO[bytes]) -> "Forked | None":
    """Fork the tshark of a command; the next call with the same command forks the same one.

    Args:
        command: a tshark that reads CAPTURE.
        environment: its environment.
        capture: what the fork reads instead.
        errors: where the fork says what is wrong.

    Returns:
        None if it cannot be done, on this system or for this capture.
    """
    server = _server(tuple(command), tuple(environment.items()))
    if server is None:
        return None
    try:
        return server.fork(capture, errors)
    except OSError:  # a capture that cannot be opened, or the server was killed
        if server.is_gone:
            _server.cache_clear()
        return None


class Forked:
    """A tshark that was forked; it is used as a `subprocess.Popen` is.

    Attributes:
        pid: its process.
        stdout: its output.
        returncode: its status, or the signal that ended it as a negative number; None as long as nobody waited.
    """

    def __init__(self, server: "ForkServer", pid: int, stdout: IO[bytes], ended: IO[bytes]) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._server, self._ended = server, ended  # the server ends when nobody has it

    def wait(self) -> int:
        """Wait for its end; that of a lost server is taken for its own."""
        if self.returncode is None:
            with self._ended:
                said = self._ended.read().split()
            if said:
                how, number = said
                self.returncode = int(number) * (1 if how == b"exited" else -1)
            else:
                self.kill()
                self.returncode = -signal.SIGKILL
        return self.returncode

    def kill(self) -> None:
        """End it, unless somebody has waited for its end."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """A tshark that forks.

    Args:
        command: a tshark that reads CAPTURE.
        environment: of it and of its forks.

    Raises:
        OSError: there is none here.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        if sys.platform != "linux":
            raise OSError("a process cannot open the files of another one here")
        program, *arguments = command
        self._process = subprocess.Popen(
            [program, "-X", f"lua_script:{_SCRIPT}", *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _end, self._process)
        readable, _, _ = select.select([_stream(self._process.stdout)], [], [], _SECONDS)
        if not readable or self._answer() != b"ready":
            self._process.kill()
            self.close()
            raise OSError(f"{program} does not fork")

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def fork(self, capture: Path, errors: IO[bytes]) -> Forked:
        """Fork for a capture; raises OSError if it cannot be done."""
        with ExitStack() as ours, ExitStack() as theirs:
            descriptor = os.open(capture, os.O_RDONLY)
            theirs.callback(os.close, descriptor)
            (stdout, output), (ended, end) = os.pipe(), os.pipe()
            for one in (output, end):
                theirs.callback(os.close, one)
            files = [ours.enter_context(os.fdopen(one, "rb")) for one in (stdout, ended)]
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 1 << 20)
            numbers = (os.getpid(), descriptor, output, errors.fileno(), end, _DESCRIPTOR)
            with self._lock:
                _stream(self._process.stdin).write(f"{' '.join(map(str, numbers))}\n".encode())
                pid = int(self._answer() or 0)
            if not pid:
                raise OSError(f"no fork for {capture}")
            ours.pop_all()
            return Forked(self, pid, *files)

    def _answer(self) -> bytes:
        return _stream(self._process.stdout).readline().strip()


# One: a process hardly ever has another command than before, and an old server ends with its last fork.
@functools.lru_cache(maxsize=1)
def _server(command: tuple[str, ...], environment: tuple[tuple[str, str], ...]) -> ForkServer | None:
    try:
        return ForkServer(command, dict(environment))
    except OSError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        _stream(stream).close()
    process.wait()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101  PIPE was asked for
    return stream
