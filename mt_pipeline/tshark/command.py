"""tshark as a child process: which one, how it is called, its lines as they come, and what its end means.

What the lines hold is `documents.py`'s business. The measurements behind the options are in `docs/architecture.md`.
"""

import errno
import functools
import io
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import IO

from mt_pipeline.system import processes
from mt_pipeline.system.processes import bound, unbuffered
from mt_pipeline.tshark import filters, forkserver, sandbox
from mt_pipeline.tshark.fields import FIELDS
from mt_pipeline.tshark.limits import USUAL, Limits, Watch, Watched, limited, work_of

OLDEST = (3, 6)
"""Older releases do not open the hellos of the final QUIC."""

INSTALL = "install it: `sudo apt-get install tshark` (Debian, Ubuntu), `sudo dnf install wireshark-cli` (Fedora), `brew install wireshark` (macOS)"

PREFERENCES = (
    # State that no field of ours shows: a tenth of the time and a fifth of the memory.
    "tcp.calculate_timestamps:FALSE",
    "udp.calculate_timestamps:FALSE",
    "tcp.track_bytes_in_flight:FALSE",
    # Finds hellos whose segments arrived in the wrong order.
    "tcp.reassemble_out_of_order:TRUE",
)

CUT = "cut short in the middle of a packet"
"""What the programs of Wireshark say of a capture that ends so."""

DAMAGED = "damaged or corrupt"
"""What they say of one that they cannot read to its end."""

_NOISE = re.compile(r'^Running as user ".*\n?', re.MULTILINE)
_NOWHERE = "/nonexistent"
"""A folder that is never there, as users without a home have it on Debian: nothing has to be made, or taken away, for each start."""

_RUN_SECONDS = 60
"""Many times what a program takes that reads no capture."""

_KILLED_SECONDS = 10
_BUFFER_BYTES = 1 << 16

_NO_MEMORY = "failed to allocate"
"""What GLib says when there is no more memory, before it ends the program."""

_EMPTY_PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


class TsharkError(Exception):
    """Base of all that can go wrong with tshark.

    TsharkError
    ├── TsharkMissing    no such program
    ├── TsharkTooOld     a version known to give wrong rows
    ├── FilterError      tshark does not understand the display filter
    ├── NotACapture      tshark cannot read the file at all
    ├── TsharkSilent     it, or the disk that it reads, stood still
    └── TsharkFailed     it ended before the end of the capture
        ├── TsharkKilled     because somebody killed it, as the system does that lacks memory
        └── TsharkLimit  the capture takes more time or memory than it may
    """

    def __init__(self, message: str, *, said: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.said = said
        self.status = status


class TsharkMissing(TsharkError):
    """There is no such program."""


class TsharkTooOld(TsharkError):
    """The version is known to give wrong rows."""


class FilterError(TsharkError):
    """tshark does not understand the display filter.

    Attributes:
        excerpt: the filter, and below it carets under what is wrong; empty if tshark does not say where.
    """

    excerpt = ""

    @property
    def shown(self) -> str:
        """The sentence, and below it the excerpt: for terminals."""
        return "\n".join([str(self), *indent(self.excerpt, "    ").splitlines()])


class NotACapture(TsharkError):
    """tshark cannot read the file at all."""


class TsharkFailed(TsharkError):
    """tshark ended before the end of the capture."""


class TsharkKilled(TsharkFailed):
    """Somebody killed tshark, as the system does that lacks memory."""


class TsharkSilent(TsharkError):
    """tshark stood still, or the disk that it reads. That says nothing of the capture."""


class TsharkLimit(TsharkFailed):
    """The capture takes tshark more time or memory than it may."""


@dataclass(frozen=True)
class Tshark:
    """A tshark that can be used.

    Attributes:
        program: path of the executable.
        version: as it says itself, `4.0.17`.
        limits: what it may take for one capture.
    """

    program: str
    version: str
    limits: Limits = USUAL

    @classmethod
    def find(cls, program: str = "tshark", *, limits: Limits = USUAL) -> "Tshark":
        """Find tshark and ask for its version.

        Raises:
            TsharkMissing: no such program, or it does not start.
            TsharkTooOld: older than OLDEST.
        """
        path = shutil.which(program)
        if path is None:
            raise TsharkMissing(
                f"tshark not found as {program!r}; {INSTALL}, or set MT_TSHARK to its path"
            )
        said = run([path, "--version"]).stdout
        match = re.match(r"TShark \D*(\d+)\.(\d+)\.(\d+)", said)
        if match is None:
            raise TsharkMissing(
                f"{path} does not say a tshark version but {said[:80]!r}; set MT_TSHARK to a tshark"
            )
        version = tuple(int(part) for part in match.groups())
        if version < OLDEST:
            raise TsharkTooOld(
                f"tshark {'.'.join(match.groups())} at {path} is too old, {'.'.join(map(str, OLDEST))} is the oldest that can be used; {INSTALL}"
            )
        return cls(path, ".".join(match.groups()), limits)

    @property
    def is_confined(self) -> bool:
        """Whether it works in a sandbox."""
        return sandbox.confines(self.program)

    def forks(self) -> bool:
        """Try whether it can be started once for many captures."""
        try:
            forkserver.ForkServer(
                self._limited(Path(forkserver.CAPTURE), ""),
                environment(),
                is_confined=self.is_confined,
            ).close()
        except OSError:
            return False
        return True

    def check_filter(self, display_filter: str) -> None:
        """Let tshark judge a display filter, on a capture without packets.

        Raises:
            FilterError: with what tshark says of it.
        """
        if not display_filter:
            return
        if "\0" in display_filter:
            raise FilterError(f"display filter not understood: {display_filter!r} holds a NUL")
        done = _tried(self.program, display_filter)
        if done.returncode:
            said = _NOISE.sub("", done.stderr)
            error = FilterError(
                f"display filter not understood: {display_filter!r}. {filters.reason(said)}",
                said=said,
                status=done.returncode,
            )
            error.excerpt = filters.excerpt(display_filter, said)
            raise error

    def command(self, capture: Path, display_filter: str) -> list[str]:
        """Say one capture as tab-separated columns, a line per packet: 2.5 times faster than JSON, the same values."""
        columns = ",".join(
            f'"{field.key}","%Cus:{field.name}:{int(field.first_only)}:U"' for field in FIELDS
        )
        options = [
            part
            for preference in (*PREFERENCES, f"gui.column.format:{columns}")
            for part in ("-o", preference)
        ]
        return [
            self.program,
            "-n",
            "-r",
            str(capture.absolute()),
            *(["-Y", display_filter] if display_filter else []),
            "-T",
            "tabs",
            *options,
        ]

    @contextmanager
    def lines(
        self, capture: Path, display_filter: str = "", *, called: Path | None = None
    ) -> Iterator["Stream"]:
        """Run tshark on a capture; its output is `Stream.output`, and leaving the block ends it, whatever happened.

        Args:
            capture: the file.
            display_filter: only packets that match; all if empty.
            called: what people know the file as: errors name this path.

        Raises:
            TsharkError: on leaving, if tshark failed by itself.
        """
        with tempfile.TemporaryFile() as errors:
            child = self._forked(capture, display_filter, errors) or self._started(
                capture, display_filter, errors
            )
            watch = Watch(
                self.limits,
                child.work if isinstance(child, forkserver.Forked) else lambda: work_of(child.pid),
            )
            stream = Stream(
                io.BufferedReader(
                    Watched(unbuffered(child.stdout), watch, child.kill), _BUFFER_BYTES
                )
            )
            try:
                yield stream
                stream.output.close()
                status = _ended(child, watch)
            finally:
                child.kill()
                with suppress(
                    subprocess.TimeoutExpired
                ):  # a disk that does not answer keeps even what was killed
                    child.wait(_KILLED_SECONDS)
                stream.output.close()  # after its end: a thread may still be reading, and closing would wait for it
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
        called = called or capture
        _judge_limits(called, status, said, watch)
        for name in (str(capture.absolute()), forkserver.CAPTURE):
            said = said.replace(name, str(called))
        # What is not understood is mostly the half line of a tshark that was killed: then its end is the reason to name.
        if stream.not_understood and status in (0, -signal.SIGPIPE):
            raise TsharkFailed(
                f"{called}: tshark's output was not understood: {stream.not_understood}", said=said
            )
        _judge(called, status, said)

    def _forked(
        self, capture: Path, display_filter: str, errors: IO[bytes]
    ) -> forkserver.Forked | None:
        command = self._limited(Path(forkserver.CAPTURE), display_filter)
        return forkserver.fork(
            command, environment(), capture, errors, is_confined=self._confines(capture)
        )

    def _started(
        self, capture: Path, display_filter: str, errors: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        command = self._limited(capture, display_filter)
        # A thread that starts tshark must outlive it: the kernel ends the child with that thread.
        return subprocess.Popen(
            bound(
                [
                    *sandbox.confined([], capture.absolute())[:-1],
                    "--die-with-parent",
                    "--",
                    *command,
                ]
                if self._confines(capture)
                else command
            ),
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(),
            pipesize=1 << 20,
        )

    def _confines(self, capture: Path) -> bool:
        try:
            return self.is_confined and sandbox.reads(capture)
        except OSError:  # tshark says so
            return False

    def _limited(self, capture: Path, display_filter: str) -> list[str]:
        return limited(self.command(capture, display_filter), self.limits)


class Stream:
    """A running tshark.

    Attributes:
        output: its lines.
        not_understood: set by the reader if it met a line that it could not read.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.output = output
        self.not_understood = ""


def environment() -> dict[str, str]:
    """Give the programs of Wireshark what they need, and an empty profile: a user's preferences, columns and plugins must change nothing."""
    folders = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "WIRESHARK_CONFIG_DIR"), _NOWHERE)
    return processes.environment(**folders, LC_ALL="C.UTF-8", TZ="UTC")


def run(command: list[str], *, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a program of Wireshark to its end, with such an environment.

    Raises:
        TsharkMissing: it does not start.
        TsharkSilent: it does not end.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            env=environment(),
            check=False,
            timeout=_RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise TsharkSilent(
            f"{command[0]} did not answer within {_RUN_SECONDS} s: see whether it runs by hand, then launch again"
        ) from None
    except OSError as error:
        if error.errno in (
            errno.EMFILE,
            errno.ENFILE,
            errno.ENOMEM,
            errno.EAGAIN,
        ):  # that says nothing of the program
            raise
        raise TsharkMissing(f"{command[0]} does not start: {error.strerror}; {INSTALL}") from None
    return subprocess.CompletedProcess(
        command,
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


@functools.lru_cache(maxsize=100)
def _tried(program: str, display_filter: str) -> subprocess.CompletedProcess[str]:
    return run([program, "-n", "-r", "-", "-Y", display_filter], stdin=_EMPTY_PCAP)


def _ended(child: "subprocess.Popen[bytes] | forkserver.Forked", watch: Watch) -> int:
    """Wait for the end of a tshark that says nothing more; end it if it does not come."""
    while True:
        try:
            return child.wait(1)
        except subprocess.TimeoutExpired:
            if watch.is_exceeded():
                child.kill()
                return -signal.SIGKILL


def _judge_limits(capture: Path, status: int, said: str, watch: Watch) -> None:
    """Raise if a limit of ours ended tshark."""
    limits = watch.limits
    if watch.silent:
        raise TsharkSilent(
            f"{capture}: tshark did nothing for {limits.silence:,.0f} s and was ended: see whether its disk answers, then launch the capture again; "
            "MT_TSHARK_SILENCE_SECONDS gives it more time",
            said=said,
            status=status,
        )
    if watch.late:
        raise TsharkLimit(
            f"{capture}: tshark was not done after {limits.seconds:,.0f} s and was ended: cut the capture with `editcap -c 10000000`, "
            "or set MT_TSHARK_SECONDS to more",
            said=said,
            status=status,
        )
    if status and _NO_MEMORY in said:
        most = (
            "the machine has"
            if limits.memory is None
            else f"the {limits.memory / 10**6:,.0f} MB that it may take"
        )
        raise TsharkLimit(
            f"{capture}: tshark needs more memory than {most}: cut the capture with `editcap -c 10000000`, or set MT_TSHARK_MEMORY_MB to more",
            said=said,
            status=status,
        )


def _judge(capture: Path, status: int, stderr: str) -> None:
    """Raise if tshark failed; a capture that is cut inside its last packet gave all its whole packets."""
    said = _last_words(stderr)
    if status == 0 or CUT in said:
        return
    if status < 0:
        kind = TsharkKilled if status == -signal.SIGKILL else TsharkFailed
        raise kind(
            f"{capture}: tshark was ended by signal {-status}; launch the capture again, with more memory if it was the system",
            said=said,
            status=status,
        )
    if "isn't a capture file" in said or "doesn't exist" in said or "permission" in said.lower():
        raise NotACapture(
            f"not a capture: {capture}. tshark said: {said}", said=said, status=status
        )
    cure = (
        f"; `editcap {shlex.quote(str(capture))} saved.pcapng` keeps the packets before the damage"
        if DAMAGED in said
        else ""
    )
    raise TsharkFailed(
        f"{capture}: tshark stopped with status {status} and said: {said}{cure}",
        said=said,
        status=status,
    )


def _last_words(stderr: str) -> str:
    return " ".join(_NOISE.sub("", stderr[-4000:]).split()) or "nothing"
