"""tshark as a child process: which one, its command, and its lines as they come.

What the lines contain is `documents.py`; what the end of a tshark means is `outcome.py`. The
measurements behind the options are in `docs/decisions/`.
"""

import functools
import io
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mt_pipeline.system.processes import unbuffered
from mt_pipeline.tshark import filters, forkserver, hellos, sandbox
from mt_pipeline.tshark.errors import FilterError, TsharkMissing, TsharkTooOld
from mt_pipeline.tshark.fields import FIELDS
from mt_pipeline.tshark.limits import DEFAULT, Limits, Watch, Watched, limited, wait, work_of
from mt_pipeline.tshark.outcome import check_limits, check_lines, check_status
from mt_pipeline.tshark.programs import INSTALL, environment, printed, run, start, without_noise
from mt_pipeline.tshark.stderr import last_words

OLDEST = (3, 6)
"""Older releases do not decrypt the hellos of the final QUIC."""

PREFERENCES = (
    # State that none of our fields shows: a tenth of the time and a fifth of the memory.
    "tcp.calculate_timestamps:FALSE",
    "udp.calculate_timestamps:FALSE",
    "tcp.track_bytes_in_flight:FALSE",
    # Finds hellos whose segments arrived in the wrong order.
    "tcp.reassemble_out_of_order:TRUE",
)

_KILLED_SECONDS = 10
_BUFFER_BYTES = 1 << 16

_EMPTY_PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


@dataclass(frozen=True)
class Tshark:
    """A usable tshark.

    Attributes:
        program: path of the executable.
        version: as it prints it, `4.0.17`.
        limits: what it may take for one capture.
        fork_seconds: to wait for a tshark that forks (`forkserver.py`); 0 starts one per capture.
    """

    program: str
    version: str
    limits: Limits = DEFAULT
    fork_seconds: float = forkserver.START_SECONDS

    @classmethod
    def find(cls, program: str = "tshark", *, limits: Limits = DEFAULT) -> "Tshark":
        """Find tshark and check its version.

        Raises:
            TsharkMissing: no such program, or it does not start.
            TsharkTooOld: older than OLDEST.
        """
        path = shutil.which(program)
        if path is None:
            raise TsharkMissing(
                f"tshark not found as {program!r}; {INSTALL}, or set MT_TSHARK to its path"
            )
        output = run([path, "--version"]).stdout
        match = re.match(r"TShark \D*(\d+)\.(\d+)\.(\d+)", output)
        if match is None:
            raise TsharkMissing(
                f"{path} does not say a tshark version but {output[:80]!r}; "
                "set MT_TSHARK to a tshark"
            )
        version = ".".join(match.groups())
        if tuple(map(int, match.groups())) < OLDEST:
            raise TsharkTooOld(
                f"tshark {version} at {path} is too old, "
                f"{'.'.join(map(str, OLDEST))} is the oldest that can be used; {INSTALL}"
            )
        return cls(path, version, limits)

    @property
    def is_confined(self) -> bool:
        """Whether it works in a sandbox."""
        return sandbox.confines(self.program)

    def forks(self) -> bool:
        """Return whether it can be started once for many captures, by trying it."""
        command = self._limited(Path(forkserver.CAPTURE), "")
        try:
            server = forkserver.ForkServer(command, environment(), is_confined=self.is_confined)
        except OSError:
            return False
        server.close()
        return True

    def check_filter(self, display_filter: str) -> None:
        """Check a display filter by applying it to a capture without packets.

        Raises:
            FilterError: with the reason that tshark prints.
        """
        if not display_filter:
            return
        if "\0" in display_filter:
            raise FilterError(f"display filter not understood: {display_filter!r} holds a NUL")
        done = _try_filter(self.program, display_filter)
        if done.returncode:
            stderr = without_noise(done.stderr)
            error = FilterError(
                f"display filter not understood: {display_filter!r}. {filters.reason(stderr)}",
                stderr=stderr,
                status=done.returncode,
            )
            error.excerpt = filters.excerpt(display_filter, stderr)
            raise error

    def command(self, capture: Path, display_filter: str) -> list[str]:
        """Return the command that prints a capture as tab-separated columns, a line per packet.

        It is 2.5 times faster than JSON, and gives the same values.
        """
        columns = ",".join(f'"{field.key}","{field.format}"' for field in FIELDS)
        command = [self.program, "-n", "-r", str(capture.absolute()), *hellos.OPTIONS]
        command += ["-Y", display_filter] if display_filter else []
        command += ["-T", "tabs"]
        for preference in (*PREFERENCES, f"gui.column.format:{columns}"):
            command += ["-o", preference]
        return command

    @contextmanager
    def lines(
        self, capture: Path, display_filter: str = "", *, shown_as: Path | None = None
    ) -> Iterator["Stream"]:
        """Run tshark on a capture and yield its output; tshark ends with the block.

        Args:
            capture: the file.
            display_filter: only packets that match; all if empty.
            shown_as: the path that errors name, if the user knows the file by another one.

        Raises:
            TsharkError: at the end of the block, if tshark failed by itself.
        """
        with last_words() as (errors, rest):
            child = self._fork(capture, display_filter, errors) or self._start(
                capture, display_filter, errors
            )
            work = child.work if isinstance(child, forkserver.Forked) else _work_of(child)
            watch = Watch(self.limits, work)
            watched = Watched(unbuffered(child.stdout), watch, child.kill)
            stream = Stream(io.BufferedReader(watched, _BUFFER_BYTES))
            try:
                yield stream
                stream.output.close()
                status = wait(child, watch)
                if status is None:
                    child.kill()
                    status = -signal.SIGKILL
            finally:
                child.kill()
                # A process that is killed lives on as long as its disk does not answer.
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_KILLED_SECONDS)
                # After its end: closing would wait for a thread that may still be reading.
                stream.output.close()
            stderr = printed(rest(), str(capture.absolute()), forkserver.CAPTURE)
        shown_as = shown_as or capture
        check_limits(shown_as, status, stderr, watch)
        check_lines(shown_as, status, stderr, stream.not_understood)
        check_status(shown_as, status, stderr)

    def _fork(
        self, capture: Path, display_filter: str, errors: IO[bytes]
    ) -> forkserver.Forked | None:
        if not self.fork_seconds:
            return None
        return forkserver.fork(
            self._limited(Path(forkserver.CAPTURE), display_filter),
            environment(),
            capture,
            errors,
            is_confined=self._confines(capture),
            seconds=self.fork_seconds,
        )

    def _start(
        self, capture: Path, display_filter: str, errors: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        command = self._limited(capture, display_filter)
        if self._confines(capture):
            files = capture.absolute(), hellos.SCRIPT
            command = sandbox.confined(command, *files, ends_with_parent=True)
        return start(command, errors)

    def _confines(self, capture: Path) -> bool:
        try:
            return self.is_confined and sandbox.reads(capture)
        except OSError:  # tshark reports it
            return False

    def _limited(self, capture: Path, display_filter: str) -> list[str]:
        return limited(self.command(capture, display_filter), self.limits)


class Stream:
    """A running tshark.

    Attributes:
        output: its lines.
        not_understood: why a line could not be read; set by the reader.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.output = output
        self.not_understood = ""


@functools.lru_cache(maxsize=100)
def _try_filter(program: str, display_filter: str) -> subprocess.CompletedProcess[str]:
    return run([program, "-n", "-r", "-", "-Y", display_filter], stdin=_EMPTY_PCAP)


def _work_of(child: subprocess.Popen[bytes]) -> Callable[[], object | None]:
    return lambda: work_of(child.pid)
