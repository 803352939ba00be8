"""What the end of a tshark means: which error its status, its limits and its output stand for."""

import shlex
import signal
from pathlib import Path

from mt_pipeline.tshark.errors import (
    NAME,
    NotACapture,
    TsharkFailed,
    TsharkKilled,
    TsharkLimit,
    TsharkSilent,
)
from mt_pipeline.tshark.limits import Watch
from mt_pipeline.tshark.programs import CUT, DAMAGED, UNSUPPORTED, without_noise

_NO_MEMORY = "failed to allocate"
"""What GLib prints when there is no more memory, before it ends the program."""
_CRASHED = (-signal.SIGSEGV, 128 + signal.SIGSEGV)
"""Status after a crash; the second one comes through a sandbox."""

_UNREADABLE = ("isn't a capture file", "doesn't exist", "permission")

_LAST_BYTES = 4000
"""Of what tshark printed: the end, where the reason is."""


def check_limits(capture: Path, status: int, stderr: str, watch: Watch) -> None:
    """Raise if one of our limits ended tshark.

    Raises:
        TsharkSilent: it stood still for too long.
        TsharkLimit: the capture takes more time or memory than it may.
    """
    limits = watch.limits
    if watch.silent:
        message = (
            f"{capture}: tshark did nothing for {limits.silence:,.0f} s and was ended: "
            "see whether its disk answers, then launch the capture again; "
            "MT_TSHARK_SILENCE_SECONDS gives it more time"
        )
        raise TsharkSilent(message, stderr=stderr, status=status)
    if watch.late:
        message = (
            f"{capture}: tshark was not done after {limits.seconds:,.0f} s and was ended: "
            "cut the capture with `editcap -c 10000000`, or set MT_TSHARK_SECONDS to more"
        )
        raise TsharkLimit(message, stderr=stderr, status=status)
    # Code that does not check what malloc returns crashes at the limit, and prints nothing.
    crashed = limits.memory is not None and status in _CRASHED and not without_noise(stderr)
    if crashed or (status and _NO_MEMORY in stderr):
        most = (
            "the machine has"
            if limits.memory is None
            else f"the {limits.memory / 10**6:,.0f} MB that it may take"
        )
        message = (
            f"{capture}: tshark needs more memory than {most}: "
            "cut the capture with `editcap -c 10000000`, or set MT_TSHARK_MEMORY_MB to more"
        )
        raise TsharkLimit(message, stderr=stderr, status=status)


def check_lines(capture: Path, status: int, stderr: str, not_understood: str) -> None:
    """Raise if a line of tshark's output was not understood.

    A killed tshark leaves half a line: then its end is the reason to report, see `check_status`.

    Raises:
        TsharkFailed: tshark ended in order, or because nobody read on.
    """
    if not_understood and status in (0, -signal.SIGPIPE):
        message = f"{capture}: tshark's output was not understood: {not_understood}"
        raise TsharkFailed(message, stderr=stderr)


def check_status(capture: Path, status: int, stderr: str) -> None:
    """Raise if tshark failed.

    A capture that is cut inside its last packet gave all its complete packets, so it passes.

    Args:
        capture: the file as the user knows it.
        status: exit status of tshark, or the signal that ended it as a negative number.
        stderr: what it printed, see `printed`.

    Raises:
        TsharkKilled: it was killed.
        NotACapture: it could not read the file at all.
        TsharkFailed: it ended before the end of the capture.
    """
    reason = " ".join(without_noise(stderr[-_LAST_BYTES:]).split()) or "nothing"
    if status == 0 or (status > 0 and CUT in reason):
        return
    shown = reason.replace(NAME, str(capture))
    if status < 0:
        kind = TsharkKilled if status == -signal.SIGKILL else TsharkFailed
        message = (
            f"{capture}: tshark was ended by signal {-status}; "
            "launch the capture again, with more memory if it was the system"
        )
        raise kind(message, stderr=reason, status=status)
    if any(words in reason.lower() for words in _UNREADABLE):
        message = f"not a capture: {capture}. tshark said: {shown}"
        raise NotACapture(message, stderr=reason, status=status)
    cure = (
        f"; `editcap {shlex.quote(str(capture))} saved.pcapng` keeps the packets before the damage"
        if DAMAGED in reason
        else "; a newer tshark may read it"
        if UNSUPPORTED in reason
        else ""
    )
    message = f"{capture}: tshark stopped with status {status} and said: {shown}{cure}"
    raise TsharkFailed(message, stderr=reason, status=status)
